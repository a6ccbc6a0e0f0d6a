-- Reads what the log has after an entry, if that is still the entry it was.
-- KEYS: log. ARGV: id, nonce, how many.
-- Gives nothing if it is not, else a list of entries.
local anchor = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not anchor then return false end
local fields, same = anchor[2], false
for at = 1, #fields, 2 do
  if fields[at] == 'n' then
    same = fields[at + 1] == ARGV[2]
    break
  end
end
if not same then return false end
return redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[3])
