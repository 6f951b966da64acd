#!lua flags=allow-oom
-- Takes delayed events back that are not in the log yet.
-- KEYS: delayed, delayed entries
-- ARGV: their ids
-- Answers how many were still there.
local cancelled = 0
for _, id in ipairs(ARGV) do
  cancelled = cancelled + redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
return cancelled
