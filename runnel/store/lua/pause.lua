#!lua flags=allow-oom
-- Pauses a partition for a processor: nobody may acquire it until it is resumed, whatever is restarted meanwhile.
-- KEYS: slot
-- ARGV: why, who says so
-- Answers since when it is paused, in ms
-- Its owner is not fenced: its next renewal tells it, and it gives the partition back in order.
-- Paused again, it has the new reason, and is paused since it was first. Without a new one it keeps the old one, and who gave it.
local paused, since, reason, by = redis.call('HGET', KEYS[1], 'paused'), now_ms(), ARGV[1], ARGV[2]
local known, was = pcall(cjson.decode, paused)
if known and type(was) == 'table' then
  since = was.since or since
  if reason == '' and type(was.reason) == 'string' and was.reason ~= '' then
    reason, by = was.reason, type(was.by) == 'string' and was.by or by
  end
end
redis.call('HSET', KEYS[1], 'paused', cjson.encode({reason = reason, by = by, since = since}))
return since
