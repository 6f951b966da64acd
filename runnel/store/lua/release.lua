#!lua flags=allow-oom
-- Gives a partition back at once.
-- KEYS: slot, cursors, log
-- ARGV: epoch, nonce, processor, 'lost' (its lease was over before: what ran then did not end) or 'done'
-- Answers 'OK' | 'FENCED'
-- The nonce goes too: a renewal that arrives late would hold the partition again.
-- Whoever gives it back in order has not died of it, and is its owner no more: acquire goes by that. A culprit stays one.
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 'FENCED' end
redis.call('HSET', KEYS[1], 'nonce', '', 'deadline', 0)
if ARGV[4] ~= 'lost' then redis.call('HSET', KEYS[1], 'owner', '', 'crashes', 0, 'suspect', '') end
mirror(KEYS[1], KEYS[2], KEYS[3], ARGV[3], true)
return 'OK'
