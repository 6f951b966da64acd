#!lua flags=allow-oom
-- Ends a worker's membership, and its leadership if it has it.
-- KEYS: members, workers, membership, leader
-- ARGV: worker, the nonce under which it stood for leader
-- Answers 1 if it was a member.
if redis.call('HGET', KEYS[4], 'nonce') == ARGV[2] then
  redis.call('HSET', KEYS[4], 'owner', '', 'nonce', '', 'deadline', 0)
end
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HINCRBY', KEYS[3], 'version', 1)
redis.call('HSET', KEYS[3], 'changed', now_ms())
return 1
