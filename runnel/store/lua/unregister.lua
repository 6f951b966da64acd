#!lua flags=allow-oom
-- Forgets a processor in a partition, so that events wait for it no more: its cursor, its slot, the group that shows it,
-- its parked events and dead letters, what its actors remember, and what they emitted that is not delivered.
-- KEYS: slot, cursors, log, dead, parked, parked keys, released keys, tries, and of actors: state, done, reminders, outbox
-- ARGV: processor, 'force' or 'ask' (refuse while somebody owns the partition)
-- Answers 'OK' | 'HELD', owner, ms left
-- Whoever owned it is fenced: no token is that of a slot which is not there. Epochs begin anew; nonces do not repeat.
-- The outbox is emptied, and stays: other partitions keep the id of the last event that they got from it. In a new outbox ids
-- may begin below that, where the server's clock was set back, and such events would be taken for delivered. Without the
-- marks, a relay that comes late with what it read before would deliver it twice.
local slot, cursors, log = KEYS[1], KEYS[2], KEYS[3]
local held = redis.call('HMGET', slot, 'owner', 'deadline', 'history')
local left = tonumber(held[2] or '0') - now_ms()
if ARGV[2] ~= 'force' and left > 0 and held[3] == history() then return {'HELD', held[1], left} end

redis.call('HDEL', cursors, ARGV[1])
redis.call('DEL', slot)
redis.call('UNLINK', KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8])
redis.call('UNLINK', KEYS[9], KEYS[10], KEYS[11])
redis.pcall('XTRIM', KEYS[12], 'MAXLEN', '=', 0)
redis.pcall('XGROUP', 'DESTROY', log, ARGV[1])
return {'OK'}
