-- Up to where a user has got the direct messages; never back within an epoch.
--
-- KEYS  1 the user's
-- ARGV  1 the epoch  2 the offset  3 how long it is kept, in milliseconds

local known = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
if known[1] ~= ARGV[1] or tonumber(known[2]) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'offset', ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
