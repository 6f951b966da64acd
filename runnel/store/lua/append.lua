#!lua
-- Appends entries to a partition's log: all of them, once, or none.
-- KEYS: log, cursors, counts, producer
-- ARGV: sequence, lifetime of the producer's mark in ms, cap, overflow, 'explicit' or 'auto' ids,
--       number of fields, their names, then for each entry its id (if explicit) and its values
-- Answers 'OK', first id, entries dropped | 'ALREADY', first id, 0
--       | 'FULL', room, processor that holds back ('' if none is registered), its cursor
--       | 'STALE', last sequence | 'ID', the id that is not above the log's last one
local log, cursors, counts, producer = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local sequence, lifetime, cap, overflow = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local explicit, width = ARGV[5] == 'explicit', tonumber(ARGV[6])
local step = explicit and width + 1 or width
local first_value = 7 + width
local entries = (#ARGV - first_value + 1) / step

local mark = redis.call('HMGET', producer, 'sequence', 'first')
local last_sequence = tonumber(mark[1] or '0')
if sequence == last_sequence then return {'ALREADY', mark[2], 0} end
if sequence < last_sequence then return {'STALE', mark[1]} end

if explicit then
  local last = extent(log)
  for at = first_value, #ARGV, step do
    if not before(last, ARGV[at]) then return {'ID', ARGV[at]} end
    last = ARGV[at]
  end
end

local dropped = 0
local length = redis.call('XLEN', log)
if length + entries > cap then
  length = length - drop_done(log, cursors)
  if length + entries > cap then
    if overflow ~= 'drop_oldest' then
      local cursor, processor = slowest(cursors)
      return {'FULL', cap - length, processor or '', cursor or ''}
    end
    dropped = redis.call('XTRIM', log, 'MAXLEN', '=', math.max(0, cap - entries))
    redis.call('HINCRBY', counts, 'dropped', dropped)
  end
end

-- The first id's millisecond is used for all: with ms-* they count up from the first one, which thus tells them all.
local call, id, first = redis.call, '*', nil
local function added(entry_id)
  if not first then first, id = entry_id, string.match(entry_id, '^%d+') .. '-*' end
end
if width == 2 and not explicit then -- the usual shape, without building a table for each entry
  local name, key_name = ARGV[7], ARGV[8]
  added(call('XADD', log, id, name, ARGV[9], key_name, ARGV[10]))
  for at = 11, #ARGV, 2 do call('XADD', log, id, name, ARGV[at], key_name, ARGV[at + 1]) end
else
  local command = {'XADD', log, '*'}
  for i = 1, width do command[2 + 2 * i] = ARGV[6 + i] end
  for at = first_value, #ARGV, step do
    command[3] = explicit and ARGV[at] or id
    for i = 1, width do command[3 + 2 * i] = ARGV[at + step - width + i - 1] end
    added(call(unpack(command)))
  end
end
redis.call('HSET', producer, 'sequence', ARGV[1], 'first', first)
redis.call('PEXPIRE', producer, lifetime)
return {'OK', first, dropped}
