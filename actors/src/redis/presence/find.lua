-- What every node holds of a user.
-- KEYS: nodes. ARGV: prefix, user. Gives instance and share in turns.
local answer = {}
for _, node in ipairs(redis.call('HKEYS', KEYS[1])) do
  local share = redis.call('HGET', ARGV[1] .. 'users:' .. node, ARGV[2])
  if share then
    answer[#answer + 1] = node
    answer[#answer + 1] = share
  end
end
return answer
