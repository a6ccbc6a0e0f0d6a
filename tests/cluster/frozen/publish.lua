-- Stores the records of one room in their order and tells every node.
--
-- KEYS  1 the room's state, 2 its stream, 3... each record's idempotency key
-- ARGV  1 the time in ms, 0: that of Redis   2 most records   3 their age in ms
--       4 an epoch, if the room begins now   5 PUBLISH or SPUBLISH   6 the channel
--       then for each record: the age of its key in ms, its id, its bytes
-- Gives the epoch, and for each record its offset, or what its key was used for:
-- "<when> <epoch> <offset> <id>".

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local max, ttl = tonumber(ARGV[2]), tonumber(ARGV[3])

local function decimal(n)
  return string.format('%.0f', n)
end

-- A length as LEB128.
local function length(n)
  local out = ''
  while n >= 128 do
    out = out .. string.char(128 + n % 128)
    n = math.floor(n / 128)
  end
  return out .. string.char(n)
end

local state = redis.call('HMGET', KEYS[1], 'epoch', 'head', 'at', 'kept')
local epoch, head = state[1], tonumber(state[2] or 0)
local at, kept = tonumber(state[3] or 0), tonumber(state[4] or 0)
if not epoch then
  -- Whatever is left of an older history has positions of that one.
  redis.call('DEL', KEYS[2])
  epoch, head, at, kept = ARGV[4], 0, 0, 0
end

local first, last = head + 1, nil
local reply, envelope = { epoch }, {}
for i = 1, #KEYS - 2 do
  local key, age = KEYS[2 + i], tonumber(ARGV[4 + 3 * i])
  local id, bytes = ARGV[5 + 3 * i], ARGV[6 + 3 * i]
  local used = redis.call('GET', key)
  if used and tonumber(string.match(used, '^%d+')) + age > now then
    -- Something is written, so that WAIT waits for what was written before.
    redis.call('PEXPIRE', key, age)
    reply[1 + i] = used
  else
    head, last = head + 1, id
    at = math.max(at, now)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', max, decimal(head) .. '-0', 't', decimal(at), 'r', bytes)
    local value = decimal(at) .. ' ' .. epoch .. ' ' .. decimal(head) .. ' ' .. id
    redis.call('SET', key, value, 'PX', age)
    reply[1 + i] = head
    envelope[#envelope + 1] = '\3' .. length(#bytes) .. bytes
  end
end
if #envelope == 0 then
  return reply
end

redis.call('HSET', KEYS[1], 'epoch', epoch, 'head', decimal(head), 'at', decimal(at), 'last', last)

-- A room that is used no more goes by itself, not before its keys.
local idle = math.max(ttl, 600000)
if math.abs(now - kept) >= idle / 8 then
  redis.call('HSET', KEYS[1], 'kept', decimal(now))
  redis.call('PEXPIRE', KEYS[1], decimal(idle * 1.25))
  redis.call('PEXPIRE', KEYS[2], decimal(idle * 1.25))
end

-- Now and then what is expired goes.
if math.floor(head / 64) ~= math.floor((first - 1) / 64) then
  for _ = 1, 16 do
    local last
    local entries = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 64)
    for _, entry in ipairs(entries) do
      if tonumber(entry[2][2]) > now - ttl then break end
      last = tonumber(string.match(entry[1], '^%d+'))
    end
    if not last then break end
    redis.call('XTRIM', KEYS[2], 'MINID', decimal(last + 1) .. '-0')
  end
end

local offset = decimal(first)
redis.call(ARGV[5], ARGV[6], '\1\1\1\16' .. epoch .. '\2' .. length(#offset) .. offset
  .. table.concat(envelope))
return reply
