#!lua flags=allow-oom
-- Notes which event is about to run alone: if its owner is lost before the next commit, it is the culprit.
-- KEYS: slot
-- ARGV: epoch, nonce, the event's id in the log
-- Answers 'OK' | 'FENCED'
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 'FENCED' end
redis.call('HSET', KEYS[1], 'suspect', ARGV[3])
return 'OK'
