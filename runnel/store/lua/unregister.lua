#!lua flags=allow-oom
-- Forgets a processor in a partition, so that events wait for it no more: its cursor, its slot, the group that shows it,
-- its parked events and dead letters.
-- KEYS: slot, cursors, log, dead, parked, parked keys, released keys, tries
-- ARGV: processor, 'force' or 'ask' (refuse while somebody owns the partition)
-- Answers 'OK' | 'HELD', owner, ms left
-- Whoever owned it is fenced: no token is that of a slot which is not there. Epochs begin anew; nonces do not repeat.
local slot, cursors, log = KEYS[1], KEYS[2], KEYS[3]
local held = redis.call('HMGET', slot, 'owner', 'deadline', 'history')
local left = tonumber(held[2] or '0') - now_ms()
if ARGV[2] ~= 'force' and left > 0 and held[3] == history() then return {'HELD', held[1], left} end

redis.call('HDEL', cursors, ARGV[1])
redis.call('DEL', slot)
redis.call('UNLINK', KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8])
redis.pcall('XGROUP', 'DESTROY', log, ARGV[1])
return {'OK'}
