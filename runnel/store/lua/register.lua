#!lua flags=allow-oom
-- Notes a processor in a partition, so that events wait for it from now on; one that is registered stays as it is.
-- KEYS: cursors, log, slot
-- ARGV: processor, start ('earliest' or 'latest')
-- Answers 1 if it is new.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 0 end
register(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2])
return 1
