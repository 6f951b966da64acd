#!lua
-- Puts events aside until they are due: all of them, once, or none.
-- KEYS: delayed, delayed entries, counts, producer
-- ARGV: sequence, lifetime of the producer's mark in ms, ms by which due times are ahead of the clock, 'in' or 'at', ms,
--       cap, overflow, number of fields, their names, then for each entry its values
-- Answers 'OK' or 'ALREADY', number of the first event, due time in ms | 'STALE': a newer one of this producer is there
-- Numbers count up, so that events of one due time stay in their order.
local delayed, entries, counts, producer = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local sequence, width = tonumber(ARGV[1]), tonumber(ARGV[8])
local first_value = 9 + width

local mark = redis.call('HMGET', producer, 'sequence', 'first', 'due')
local last_sequence = tonumber(mark[1] or '0')
if sequence == last_sequence then return {'ALREADY', tonumber(mark[2]), tonumber(mark[3])} end
if sequence < last_sequence then return {'STALE', 0, 0} end
redis.call('ZCARD', delayed)
redis.call('HLEN', entries)

local due = tonumber(ARGV[5])
if ARGV[4] == 'in' then due = due + now_ms() + tonumber(ARGV[3]) end
local count = (#ARGV - first_value + 1) / width
local first = redis.call('HINCRBY', counts, 'delayed', count) - count + 1
for n = 0, count - 1 do
  local entry, at = {ARGV[6], ARGV[7]}, first_value + n * width
  for i = 1, width do
    entry[1 + 2 * i] = ARGV[8 + i]
    entry[2 + 2 * i] = ARGV[at + i - 1]
  end
  local id = string.format('%016.0f', first + n)
  redis.call('HSET', entries, id, cmsgpack.pack(entry))
  redis.call('ZADD', delayed, due, id)
end
redis.call('HSET', producer, 'sequence', ARGV[1], 'first', first, 'due', string.format('%.0f', due))
redis.call('PEXPIRE', producer, ARGV[2])
return {'OK', first, due}
