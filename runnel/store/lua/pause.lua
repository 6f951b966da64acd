#!lua flags=allow-oom
-- Pauses a partition for a processor: nobody may acquire it until it is resumed, whatever is restarted meanwhile.
-- KEYS: slot
-- ARGV: why, who says so
-- Answers since when it is paused, in ms
-- Its owner is not fenced: its next renewal tells it, and it gives the partition back in order.
-- Paused again, it has the new reason, and is paused since it was first.
local paused, since = redis.call('HGET', KEYS[1], 'paused'), now_ms()
local known, was = pcall(cjson.decode, paused)
if known and type(was) == 'table' then since = was.since or since end
redis.call('HSET', KEYS[1], 'paused', cjson.encode({reason = ARGV[1], by = ARGV[2], since = since}))
return since
