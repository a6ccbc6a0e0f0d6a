-- Takes away some users of an instance whose lease is over.
-- KEYS: nodes, log, set of those online. ARGV: prefix, own instance, nonce, publish
-- command, wake channel, the dead instance, how many.
-- Gives: a state (1: there are more, 0: all are gone, -1: another node does it,
-- -2: it is not dead) and how many users were taken away.
local prefix, own, dead = ARGV[1], ARGV[2], ARGV[6]
if redis.call('EXISTS', prefix .. 'lease:' .. dead) == 1 then return {-2, 0} end
if redis.call('HEXISTS', KEYS[1], dead) == 0 then return {-2, 0} end
local broom = prefix .. 'sweep:' .. dead
local owner = redis.call('GET', broom)
if owner and owner ~= own then return {-1, 0} end
redis.call('SET', broom, own, 'PX', 2000)
local users = prefix .. 'users:' .. dead
local found = redis.call('HSCAN', users, '0', 'COUNT', ARGV[7])[2]
local nodes = redis.call('HKEYS', KEYS[1])
local entry = {'t', 'users', 'i', dead, 'n', ARGV[3]}
for at = 1, #found, 2 do
  local user = found[at]
  redis.call('HDEL', users, user)
  local held = false
  for _, node in ipairs(nodes) do
    if redis.call('HEXISTS', prefix .. 'users:' .. node, user) == 1 then
      held = true
      break
    end
  end
  if not held then redis.call('SREM', KEYS[3], user) end
  entry[#entry + 1] = user
  entry[#entry + 1] = ''
end
local left = redis.call('HLEN', users)
if #found > 0 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 4000, '*', unpack(entry))
end
if left > 0 then
  -- A node that was only slow and wakes now must tell all again. Gone by itself at last,
  -- as nodes that wake after a day do not wake.
  redis.call('SET', prefix .. 'swept:' .. dead, '1', 'PX', 86400000)
else
  redis.call('DEL', users, prefix .. 'addresses:' .. dead, broom, prefix .. 'swept:' .. dead)
  redis.call('HDEL', KEYS[1], dead)
  redis.call('HDEL', prefix .. 'told', dead)
  redis.call('HDEL', prefix .. 'writes', dead)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 4000, '*',
    't', 'gone', 'i', dead, 'n', ARGV[3] .. '.')
end
redis.call(ARGV[4], ARGV[5], '')
return {left > 0 and 1 or 0, #found / 2}
