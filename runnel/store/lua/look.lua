#!lua flags=no-writes
-- How a partition stands for a processor, all at one moment.
-- KEYS: slot, cursors, log
-- ARGV: processor
-- Answers owner, epoch, ms left of the lease, cursor (nil if it never ran), entries up to it since the log began,
--         last id ever given, entries ever added, entries held, id of the first one held
-- A token of an older history is void, whatever its deadline says.
local slot, cursors, log = KEYS[1], KEYS[2], KEYS[3]
local held = redis.call('HMGET', slot, 'owner', 'epoch', 'deadline', 'history', 'count')
local owner, left = held[1] or '', tonumber(held[3] or '0') - now_ms()
if left <= 0 or held[4] ~= history() then owner, left = '', 0 end
local last, added, length = extent(log)
local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)
return {
  owner, held[2] or '0', left, redis.call('HGET', cursors, ARGV[1]), held[5] or '0',
  last, added, length, first[1] and first[1][1] or '0-0',
}
