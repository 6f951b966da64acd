#!lua flags=no-writes
-- How a partition stands for a processor, all at one moment.
-- KEYS: slot, cursors, log, dead, parked, parked keys, and of actors: state, reminders, outbox
-- ARGV: processor
-- Answers owner, epoch, ms left of the lease, cursor (nil if it never ran), entries up to it since the log began,
--         last id ever given, entries ever added, entries held, id of the first one held,
--         id of the first one after the cursor ('0-0': none; without a cursor the first one held), the server's time in ms,
--         parked events, keys that are parked, dead letters, owners lost in a row, the event that runs alone for it ('': none),
--         keys with a state, keys with reminders, emitted events that are not delivered,
--         why it is stopped, and how it is paused (nil: it is not)
-- A token of an older history is void, whatever its deadline says.
local slot, cursors, log = KEYS[1], KEYS[2], KEYS[3]
local held = redis.call('HMGET', slot, 'owner', 'epoch', 'deadline', 'history', 'count', 'stopped', 'paused')
local now = now_ms()
local owner, left = held[1] or '', tonumber(held[3] or '0') - now
if left <= 0 or held[4] ~= history() then owner, left = '', 0 end
local last, added, length, first = extent(log)
local cursor, following = redis.call('HGET', cursors, ARGV[1]), first
if cursor then
  -- At the log's end there is nothing to look for, and no id above the highest one that an interval could begin with.
  local found = before(cursor, last) and redis.call('XRANGE', log, '(' .. cursor, '+', 'COUNT', 1) or {}
  following = found[1] and found[1][1] or '0-0'
end
local found = {owner, held[2] or '0', left, cursor, held[5] or '0', last, added, length, first, following, now}
found[12], found[13], found[14] = redis.call('XLEN', KEYS[5]), redis.call('HLEN', KEYS[6]), redis.call('XLEN', KEYS[4])
found[15], found[16] = suspicion(slot)
found[17], found[18], found[19] = redis.call('HLEN', KEYS[7]), redis.call('HLEN', KEYS[8]), redis.call('XLEN', KEYS[9])
found[20], found[21] = held[6], held[7]
return found
