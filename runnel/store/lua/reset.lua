#!lua flags=allow-oom
-- Sets a processor's cursor and fences whoever owns the partition: it stands down, and acquires anew.
-- KEYS: slot, cursors, log, parked, parked keys, released keys, tries, and of actors: state, done, reminders
-- ARGV: processor, 'earliest' or 'latest' or a cursor, entries up to that cursor since the log began
-- Answers the new cursor.
-- What is parked goes: the processor begins anew. Behind the new cursor it runs again; before it, it is skipped.
-- So does what actors remember, and what they did above the cursor: the fold of the events begins anew with the cursor. The
-- events of their reminders may still come: an actor that does not know of one does not hear of it. What was emitted goes on
-- its way: a reset takes back nothing that was committed.
-- The cursor comes first: where no end of the log can be found, since the log is something else, nothing changes.
local slot, cursors, log = KEYS[1], KEYS[2], KEYS[3]
if ARGV[2] == 'earliest' or ARGV[2] == 'latest' then
  register(cursors, log, slot, ARGV[1], ARGV[2])
else
  redis.call('HSET', cursors, ARGV[1], ARGV[2])
  redis.call('HSET', slot, 'count', ARGV[3])
end
redis.call('UNLINK', KEYS[4], KEYS[5], KEYS[6], KEYS[7])
redis.call('UNLINK', KEYS[8], KEYS[9], KEYS[10])
redis.call('HINCRBY', slot, 'epoch', 1)
redis.call('HSET', slot, 'owner', '', 'nonce', '', 'deadline', 0)
redis.call('HDEL', slot, 'crashes', 'suspect', 'culprit')
mirror(slot, cursors, log, ARGV[1], true)
return redis.call('HGET', cursors, ARGV[1])
