-- How far users have got and read a room: never back, and of so many users only.
--
-- KEYS  1 the room's receipts, 2 its state
-- ARGV  1 the epoch of the news   2 most users   3 how long they are kept, in ms
--       then for each user: the id, what is delivered, what is read
-- Gives how many users are not kept, and for each that was news: its place among the
-- news (from 0) and what was known and is known now, as
-- "<delivered> <read> <delivered> <read>".

local epoch = redis.call('HGET', KEYS[2], 'epoch')
if epoch ~= ARGV[1] then
  return { 0 }
end
if redis.call('HGET', KEYS[1], 'epoch') ~= epoch then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'epoch', epoch)
end

local count = redis.call('HLEN', KEYS[1]) - 1
local max, untracked, reply = tonumber(ARGV[2]), 0, { 0 }
for i = 4, #ARGV, 3 do
  local field, delivered, read = 'u:' .. ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local known = redis.call('HGET', KEYS[1], field)
  if not known and count >= max then
    untracked = untracked + 1
  else
    local had, seen = 0, 0
    if known then
      local first, second = string.match(known, '^(%d+) (%d+)$')
      had, seen = tonumber(first), tonumber(second)
    end
    if delivered > had or read > seen then
      if not known then count = count + 1 end
      local now = string.format('%.0f %.0f', math.max(had, delivered), math.max(seen, read))
      redis.call('HSET', KEYS[1], field, now)
      reply[#reply + 1] = (i - 4) / 3
      reply[#reply + 1] = string.format('%.0f %.0f ', had, seen) .. now
    end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
reply[1] = untracked
return reply
