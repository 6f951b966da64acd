#!lua flags=allow-oom
-- Prolongs a lease.
-- KEYS: slot
-- ARGV: epoch, nonce, lease in ms
-- Answers 'OK' | 'FENCED'. A lease that ran out is prolonged too, as long as nobody took the partition.
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 'FENCED' end
redis.call('HSET', KEYS[1], 'deadline', now_ms() + tonumber(ARGV[3]))
return 'OK'
