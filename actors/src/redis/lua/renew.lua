-- Gives a room another epoch, because Redis has lost what nodes had already told
-- under the present one: its offsets mean something else from now on.
--
-- KEYS  1 the room's state
-- ARGV  1 the epoch that is known to be wrong   2 another one
-- Gives the epoch that counts.

local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch ~= ARGV[1] then
  return epoch
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2])
return ARGV[2]
