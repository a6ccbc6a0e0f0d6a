-- Takes what is written out of the backlog of the archive.
--
-- KEYS  1 the backlog
-- ARGV  1 the group   2... ids
-- Gives how many were there.

local gone = 0
for first = 2, #ARGV, 500 do
  local last = math.min(first + 499, #ARGV)
  redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, first, last))
  gone = gone + redis.call('XDEL', KEYS[1], unpack(ARGV, first, last))
end
return gone
