-- Takes or keeps the lease of an instance.
-- KEYS: nodes, log, set of those online. ARGV: prefix, instance, nonce, publish
-- command, wake channel, lease ms, what the node says.
-- Gives: 1 if the instance was not known or was being swept, the id of an entry of the log, and for
-- each node its instance and 1 if all that it holds was told.
local prefix, instance = ARGV[1], ARGV[2]
local swept = redis.call('DEL', prefix .. 'swept:' .. instance) == 1
local fresh = swept or redis.call('HEXISTS', KEYS[1], instance) == 0
redis.call('SET', prefix .. 'lease:' .. instance, '1', 'PX', ARGV[6])
redis.call('HSET', KEYS[1], instance, ARGV[7])
if fresh then
  redis.call('DEL', prefix .. 'users:' .. instance, prefix .. 'addresses:' .. instance)
  redis.call('HSET', prefix .. 'told', instance, '0')
end
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', 4000, '*',
  't', fresh and 'announcing' or 'anchor', 'i', instance, 'n', ARGV[3])
redis.call(ARGV[4], ARGV[5], '')
local nodes = {}
for _, node in ipairs(redis.call('HKEYS', KEYS[1])) do
  nodes[#nodes + 1] = node
  nodes[#nodes + 1] = redis.call('HGET', prefix .. 'told', node) or '0'
end
return {fresh and 1 or 0, id, nodes}
