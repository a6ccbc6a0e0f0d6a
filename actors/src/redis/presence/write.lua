-- Tells what an instance holds of some users.
-- KEYS: nodes, log, set of those online. ARGV: prefix, instance, nonce, publish
-- command, wake channel, the number of the write, then user and share in turns; an
-- empty share: nothing any more.
-- Gives 1, or 0 if the instance is not known, or some of what it told was swept already.
local prefix, instance = ARGV[1], ARGV[2]
if redis.call('HEXISTS', KEYS[1], instance) == 0 then return 0 end
if redis.call('EXISTS', prefix .. 'swept:' .. instance) == 1 then return 0 end
-- A connection that was given up may still bring an old write.
local number = tonumber(ARGV[6])
local last = tonumber(redis.call('HGET', prefix .. 'writes', instance) or '0')
if number <= last then return 1 end
redis.call('HSET', prefix .. 'writes', instance, ARGV[6])
local users = prefix .. 'users:' .. instance
local others
for at = 7, #ARGV, 2 do
  local user, share = ARGV[at], ARGV[at + 1]
  if share ~= '' then
    redis.call('HSET', users, user, share)
    redis.call('SADD', KEYS[3], user)
  elseif redis.call('HDEL', users, user) == 1 then
    others = others or redis.call('HKEYS', KEYS[1])
    local held = false
    for _, node in ipairs(others) do
      if redis.call('HEXISTS', prefix .. 'users:' .. node, user) == 1 then
        held = true
        break
      end
    end
    if not held then redis.call('SREM', KEYS[3], user) end
  end
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 4000, '*',
  't', 'users', 'i', instance, 'n', ARGV[3], unpack(ARGV, 7))
redis.call(ARGV[4], ARGV[5], '')
return 1
