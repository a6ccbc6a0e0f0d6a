-- Takes messages that wait for the archive: first those that another node took and
-- has not written for a while, then new ones.
--
-- KEYS  1 the backlog
-- ARGV  1 the group   2 who takes   3 most messages   4 about how many bytes
--       5 from which time in ms on what another one took is given up
-- Gives how many were taken over, then id and fields of each.

local key, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local limit, space, idle = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local reply = { 0 }

local function add(entries)
  local added = 0
  for _, entry in ipairs(entries) do
    if entry and entry[2] then
      reply[#reply + 1] = entry
      added, limit = added + 1, limit - 1
      for _, field in ipairs(entry[2]) do space = space - #field end
    end
  end
  return added
end

-- Both commands count what they take before it is seen how big it is: few at a time.
local cursor = '0-0'
for _ = 1, 64 do
  if limit <= 0 or space <= 0 then break end
  local count = math.min(limit, 16)
  local claimed = redis.pcall('XAUTOCLAIM', key, group, consumer, idle, cursor, 'COUNT', count)
  if claimed.err then
    if not string.find(claimed.err, 'NOGROUP', 1, true) then return claimed end
    local made = redis.pcall('XGROUP', 'CREATE', key, group, '0', 'MKSTREAM')
    if made.err then return made end
    break
  end
  reply[1] = reply[1] + add(claimed[2])
  cursor = claimed[1]
  if cursor == '0-0' then break end
end
while limit > 0 and space > 0 do
  local count = math.min(limit, 16)
  local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', key, '>')
  if not read or not read[1] or add(read[1][2]) < count then break end
end
return reply
