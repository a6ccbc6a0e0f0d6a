-- What survives a connection: one hash for each session.
--
-- KEYS  1 the session
-- ARGV  1 what  2 the owner  3 how long it is kept now, in milliseconds  4.. see below
-- Gives 1, or 0 if somebody else owns the session or it is not kept.

local key, what, owner, keep = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

if what == 'open' then
  -- 4 the node, then fields and values
  redis.call('DEL', key)
  redis.call('HSET', key, 'owner', owner, 'node', ARGV[4], unpack(ARGV, 5))
  redis.call('PEXPIRE', key, keep)
  return 1
end

if what == 'claim' then
  -- 4 the node. Gives who had it before and on which node, and everything.
  local before = redis.call('HMGET', key, 'owner', 'node')
  if not before[1] then
    return {}
  end
  redis.call('HSET', key, 'owner', owner, 'node', ARGV[4])
  redis.call('HDEL', key, 'lost')
  redis.call('PEXPIRE', key, keep)
  return {before[1], before[2], redis.call('HGETALL', key)}
end

if redis.call('HGET', key, 'owner') ~= owner then
  return 0
end
if what == 'join' then
  -- 4 the room's field  5 its value
  redis.call('HSET', key, ARGV[4], ARGV[5])
elseif what == 'leave' then
  redis.call('HDEL', key, ARGV[4])
elseif what == 'lost' then
  if redis.call('HSETNX', key, 'lost', '1') == 0 then
    return 0
  end
elseif what == 'ended' then
  redis.call('DEL', key)
  return 1
end
redis.call('PEXPIRE', key, keep)
return 1
