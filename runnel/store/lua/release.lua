#!lua flags=allow-oom
-- Gives a partition back at once.
-- KEYS: slot, cursors, log
-- ARGV: epoch, nonce, processor
-- Answers 'OK' | 'FENCED'
-- The nonce goes too: a renewal that arrives late would hold the partition again.
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 'FENCED' end
redis.call('HSET', KEYS[1], 'owner', '', 'nonce', '', 'deadline', 0)
mirror(KEYS[1], KEYS[2], KEYS[3], ARGV[3], true)
return 'OK'
