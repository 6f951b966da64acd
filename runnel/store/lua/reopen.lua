#!lua flags=allow-oom
-- Lets a partition that is stopped be acquired again.
-- KEYS: slot
-- Answers 1 if it was stopped.
return redis.call('HDEL', KEYS[1], 'stopped')
