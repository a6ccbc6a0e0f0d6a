-- Reads a page of a room; a room that has no history yet gets an epoch.
--
-- KEYS  1 the room's state, 2 its stream
-- ARGV  1 the time in ms, 0: that of Redis   2 most records   3 their age in ms
--       4 an epoch, if the room has none     5 "after", "before" or "newest"
--       6 an offset   7 most records to give   8 about how many bytes to give
-- Gives epoch, head, the oldest offset kept, then offset, when it was taken and
-- bytes of each record: ascending for "after", otherwise descending. An entry that
-- is no record has no bytes.

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local expired = now - tonumber(ARGV[3])
local range, offset = ARGV[5], tonumber(ARGV[6])
local limit, space = tonumber(ARGV[7]), tonumber(ARGV[8])

local function id(n)
  return string.format('%.0f-0', n)
end

local function offset_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

local state = redis.call('HMGET', KEYS[1], 'epoch', 'head')
local epoch, head = state[1], tonumber(state[2] or 0)
if not epoch then
  redis.call('DEL', KEYS[2])
  epoch, head = ARGV[4], 0
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'head', '0')
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(tonumber(ARGV[3]), 600000) * 1.25))
end

-- The oldest that still counts: neither one too many nor too old.
local oldest = head + 1
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if first then
  local function is_expired(n)
    local entry = redis.call('XRANGE', KEYS[2], id(n), id(n))[1]
    return not entry or (tonumber(entry[2][2]) or now) <= expired
  end
  oldest = math.max(offset_of(first), head - tonumber(ARGV[2]) + 1)
  if oldest <= head and is_expired(oldest) then
    local low, high = oldest + 1, head + 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      if is_expired(middle) then low = middle + 1 else high = middle end
    end
    oldest = low
  end
end

local reply = { epoch, head, oldest }
local low, high = oldest, head
if range == 'after' then low = math.max(low, offset + 1) end
if range == 'before' then high = math.min(high, offset - 1) end
while limit > 0 and space > 0 and low <= high do
  local count, entries = math.min(limit, 16)
  if range == 'after' then
    entries = redis.call('XRANGE', KEYS[2], id(low), id(high), 'COUNT', count)
  else
    entries = redis.call('XREVRANGE', KEYS[2], id(high), id(low), 'COUNT', count)
  end
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    if space <= 0 then break end
    local n = offset_of(entry)
    if range == 'after' then low = n + 1 else high = n - 1 end
    local bytes = entry[2][4] or ''
    reply[#reply + 1] = n
    reply[#reply + 1] = entry[2][2]
    reply[#reply + 1] = bytes
    limit = limit - 1
    space = space - #bytes
  end
end
return reply
