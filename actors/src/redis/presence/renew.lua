-- Renews the lease of an instance.
-- KEYS: nodes. ARGV: prefix, instance, lease ms, what the node says.
-- Gives for each node: instance, what it says, 1 if its lease runs; nothing if the
-- instance is not known, or some of what it told was swept already.
local prefix, instance = ARGV[1], ARGV[2]
if redis.call('HEXISTS', KEYS[1], instance) == 0 then return {} end
if redis.call('EXISTS', prefix .. 'swept:' .. instance) == 1 then return {} end
redis.call('SET', prefix .. 'lease:' .. instance, '1', 'PX', ARGV[3])
redis.call('HSET', KEYS[1], instance, ARGV[4])
local all = redis.call('HGETALL', KEYS[1])
local answer = {}
for at = 1, #all, 2 do
  answer[#answer + 1] = all[at]
  answer[#answer + 1] = all[at + 1]
  answer[#answer + 1] = tostring(redis.call('EXISTS', prefix .. 'lease:' .. all[at]))
end
return answer
