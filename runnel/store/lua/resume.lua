#!lua flags=allow-oom
-- Lets a partition that is paused be acquired again. A slot that was made by pausing goes with that.
-- KEYS: slot
-- Answers 1 if it was paused.
return redis.call('HDEL', KEYS[1], 'paused')
