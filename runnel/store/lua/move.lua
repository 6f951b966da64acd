#!lua flags=allow-oom
-- A commit that carries more than a cursor: events that leave the log with it, or parked ones that have run.
-- KEYS: slot, cursors, dead, parked, parked keys, released keys
-- ARGV: processor, epoch, nonce, number, cursor, count, then one after the other
--       'bury', number of fields and values, these      into the dead letters
--       'park', key, number of fields and values, these  behind the parked events; the key is parked from now on
--       'done', key, id                                  a parked event has run; with its last one the key is free
--       'hold', key                                      the key is not to run again for now: an event of it has failed
--       'stop', reason                                   nobody may acquire the partition until an operator releases it
-- Answers as commit does, and is a link of the same chain.
local slot, cursors, dead, parked, keys, released = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local number = tonumber(ARGV[4])
local answer = chained(slot, ARGV[2], ARGV[3], number)
if answer ~= 'OK' then return answer end
-- There is no going back: a key of another type must fail here.
redis.call('HLEN', cursors)
redis.call('XLEN', dead)
redis.call('XLEN', parked)
redis.call('HLEN', keys)
redis.call('SCARD', released)

redis.call('HSET', slot, 'number', number, 'count', ARGV[6])
redis.call('HSET', cursors, ARGV[1], ARGV[5])
local at = 7
while at <= #ARGV do
  local what = ARGV[at]
  if what == 'bury' then
    local last = at + 1 + tonumber(ARGV[at + 1])
    redis.call('XADD', dead, '*', unpack(ARGV, at + 2, last))
    at = last + 1
  elseif what == 'park' then
    local last = at + 2 + tonumber(ARGV[at + 2])
    redis.call('XADD', parked, '*', unpack(ARGV, at + 3, last))
    redis.call('HINCRBY', keys, ARGV[at + 1], 1)
    at = last + 1
  elseif what == 'done' then
    unpark(parked, keys, released, ARGV[at + 1], ARGV[at + 2])
    at = at + 3
  elseif what == 'hold' then
    redis.call('SREM', released, ARGV[at + 1])
    at = at + 2
  else
    redis.call('HSET', slot, 'stopped', ARGV[at + 1])
    at = at + 2
  end
end
return 'OK'
