#!lua flags=allow-oom
-- Prolongs a lease.
-- KEYS: slot, cursors, log
-- ARGV: epoch, nonce, lease in ms, processor
-- Answers 'OK' | 'FENCED' | 'PAUSED', how (prolonged, but to be given back). A lease that ran out is prolonged too, as long as nobody took the partition.
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 'FENCED' end
redis.call('HSET', KEYS[1], 'deadline', now_ms() + tonumber(ARGV[3]))
mirror(KEYS[1], KEYS[2], KEYS[3], ARGV[4], false)
local paused = redis.call('HGET', KEYS[1], 'paused')
if paused then return {'PAUSED', paused} end
return 'OK'
