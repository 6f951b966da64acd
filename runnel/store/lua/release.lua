#!lua flags=allow-oom
-- Gives a partition back at once.
-- KEYS: slot, cursors, log
-- ARGV: epoch, nonce, processor, how its term went: 'well', 'idle' (it has not come to the first event), or 'lost' (the lease
--       was over before that)
-- Answers 'OK' | 'FENCED'
-- The nonce goes too: a renewal that arrives late would hold the partition again.
-- Who gives it back in order is its owner no more, and has not died of it: acquire goes by that. A culprit stays one.
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 'FENCED' end
redis.call('HSET', KEYS[1], 'nonce', '', 'deadline', 0)
if ARGV[4] ~= 'lost' then redis.call('HSET', KEYS[1], 'owner', '') end
if ARGV[4] == 'well' then redis.call('HSET', KEYS[1], 'crashes', 0, 'suspect', '') end
mirror(KEYS[1], KEYS[2], KEYS[3], ARGV[3], true)
return 'OK'
