-- Shortens the lease of an instance that ends.
-- KEYS: nodes. ARGV: prefix, instance, ms.
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then
  redis.call('SET', ARGV[1] .. 'lease:' .. ARGV[2], '1', 'PX', ARGV[3])
end
return 1
