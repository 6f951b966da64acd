#!lua flags=allow-oom
-- A commit that carries more than a cursor: events that leave the log with it, or parked ones that have run.
-- KEYS: slot, cursors, dead, parked, parked keys, released keys, tries
-- ARGV: processor, epoch, nonce, number, cursor, count, then one after the other
--       'bury', number of fields and values, these      into the dead letters
--       'park', key, number of fields and values, these  behind the parked events; the key is parked from now on
--       'done', key, id                                  a parked event has run; with its last one the key is free
--       'hold', key, operated, tried, wait in ms         an event of the key has failed, when operators had changed things
--                                                        so often: it is not to run again for so long, or (-1) by itself
--       'stop', reason                                   nobody may acquire the partition until an operator releases it
-- Answers as commit does, and is a link of the same chain.
local slot, cursors, dead, parked, keys, released, tries = unpack(KEYS)
local number = tonumber(ARGV[4])
local answer = chained(slot, ARGV[2], ARGV[3], number)
if answer ~= 'OK' then return answer end
-- There is no going back: a key of another type must fail here.
redis.call('HLEN', cursors)
redis.call('XLEN', dead)
redis.call('XLEN', parked)
redis.call('HLEN', keys)
redis.call('SCARD', released)
redis.call('HLEN', tries)

-- A release that came after it began to run still stands: what it was to mend may be mended by now. An operator may have
-- dropped all of the key, too.
local function hold(key, operated, tried, wait)
  if (redis.call('HGET', slot, 'operated') or '0') == operated then redis.call('SREM', released, key) end
  local due = wait < 0 and '0' or string.format('%.0f', now_ms() + wait)
  if redis.call('HEXISTS', keys, key) == 1 then redis.call('HSET', tries, key, tried .. ' ' .. due) end
end

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
    unpark(parked, keys, released, tries, ARGV[at + 1], ARGV[at + 2])
    at = at + 3
  elseif what == 'hold' then
    hold(ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4]))
    at = at + 5
  else
    redis.call('HSET', slot, 'stopped', ARGV[at + 1])
    at = at + 2
  end
end
return 'OK'
