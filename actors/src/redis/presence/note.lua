-- Writes an entry of one kind about an instance.
-- KEYS: nodes, log, set of those online, bans. ARGV: prefix, instance, nonce,
-- publish command, wake channel, kind, now (ms), then what the kind has.
-- Gives 1, or 0 if the instance is not known.
local prefix, instance, kind = ARGV[1], ARGV[2], ARGV[6]
if kind == 'away' then
  -- User, and until when: no later than in 100 years. A time that PEXPIREAT does not
  -- take would fail every ban after it.
  local latest = tonumber(ARGV[7]) + 3155760000000
  if tonumber(ARGV[9]) > latest then ARGV[9] = string.format('%.0f', latest) end
  if tonumber(ARGV[9]) > tonumber(ARGV[7]) then
    redis.call('ZADD', KEYS[4], ARGV[9], ARGV[8])
    redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[7])
    redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -100001)
    local last = redis.call('ZRANGE', KEYS[4], -1, -1, 'WITHSCORES')
    if last[2] then
      redis.call('PEXPIREAT', KEYS[4], string.format('%.0f', math.min(tonumber(last[2]), latest)))
    end
  end
else
  if redis.call('HEXISTS', KEYS[1], instance) == 0 then return 0 end
  if kind == 'announced' then
    if redis.call('HGET', prefix .. 'told', instance) == '1' then return 1 end
    redis.call('HSET', prefix .. 'told', instance, '1')
  elseif kind == 'addresses' then
    -- Address and count in turns; 0: none.
    for at = 8, #ARGV, 2 do
      if ARGV[at + 1] == '0' then
        redis.call('HDEL', prefix .. 'addresses:' .. instance, ARGV[at])
      else
        redis.call('HSET', prefix .. 'addresses:' .. instance, ARGV[at], ARGV[at + 1])
      end
    end
  end
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 4000, '*',
  't', kind, 'i', instance, 'n', ARGV[3], unpack(ARGV, 8))
redis.call(ARGV[4], ARGV[5], '')
return 1
