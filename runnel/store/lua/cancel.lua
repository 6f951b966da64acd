#!lua flags=allow-oom
-- Takes delayed events back that are not in the log yet.
-- KEYS: delayed, delayed entries, a mark of this call's own
-- ARGV: lifetime of the mark in ms, then their ids
-- Answers how many were still there. The same call again gets the same answer: its reply may have been lost.
local known = redis.call('HGET', KEYS[3], 'cancelled')
if known then return tonumber(known) end
local cancelled = 0
redis.call('HLEN', KEYS[2])
for i = 2, #ARGV do
  cancelled = cancelled + redis.call('ZREM', KEYS[1], ARGV[i])
  redis.call('HDEL', KEYS[2], ARGV[i])
end
if cancelled > 0 then
  redis.call('HSET', KEYS[3], 'cancelled', cancelled)
  redis.call('PEXPIRE', KEYS[3], ARGV[1])
end
return cancelled
