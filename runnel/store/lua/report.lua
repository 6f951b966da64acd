#!lua flags=allow-oom
-- Keeps what a worker reports of itself, for a while, on a full server too: people want to see why. Nothing depends on it.
-- KEYS: report   ARGV: what it says, lifetime in ms
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
