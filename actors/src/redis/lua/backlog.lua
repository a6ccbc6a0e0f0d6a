-- Looks at the backlog of the archive.
--
-- KEYS  1 the backlog
-- ARGV  1 the group, or nothing   2 after how long without a sign, in ms, one that
--       has nothing left to write is forgotten
-- Gives how many messages wait, when the oldest came (ms since 1970), and the time.

local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[1] ~= '' and redis.call('EXISTS', key) == 1 then
  local consumers = redis.pcall('XINFO', 'CONSUMERS', key, ARGV[1])
  if not consumers.err then
    for _, consumer in ipairs(consumers) do
      local about = {}
      for i = 1, #consumer, 2 do about[consumer[i]] = consumer[i + 1] end
      if about.pending == 0 and about.idle > tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', key, ARGV[1], about.name)
      end
    end
  end
end
local oldest = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
local since = oldest and tonumber(string.match(oldest[1], '^%d+')) or now
return { redis.call('XLEN', key), since, now }
