#!lua flags=allow-oom
-- Gives a partition back at once.
-- KEYS: slot
-- ARGV: epoch, nonce
-- Answers 'OK' | 'FENCED'
-- The nonce goes too: a renewal that arrives late would hold the partition again.
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 'FENCED' end
redis.call('HSET', KEYS[1], 'owner', '', 'nonce', '', 'deadline', 0)
return 'OK'
