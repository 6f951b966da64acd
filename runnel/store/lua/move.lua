#!lua flags=allow-oom
-- A commit that carries more than a cursor: events that leave the log with it, parked ones that have run, and what actors did.
-- KEYS: slot, cursors, dead, parked, parked keys, released keys, tries,
--       and of actors: state, done, reminders, outbox, delayed, delayed entries, then answers of those who asked
-- ARGV: processor, epoch, nonce, number, cursor, count, then one after the other
--       'bury', number of fields and values, these      into the dead letters
--       'park', key, number of fields and values, these  behind the parked events; the key is parked from now on
--       'done', key, id                                  a parked event has run; with its last one the key is free
--       'hold', key, operated, tried, wait in ms         an event of the key has failed, when operators had changed things
--                                                        so often: it is not to run again for so long, or (-1) by itself
--       'stop', reason                                   nobody may acquire the partition until an operator releases it
--       'save', how many, keys and states                what actors remember; 'drop', how many, keys: nothing any more
--       'mark', how many, ids                            done above the cursor; 'unmark', how many, ids: below it by now
--       'emit', number of fields and values, these       into the outbox
--       'remind', key, reminders ('': none)              what an actor is to be reminded of
--       'wake', id, due, number of fields and values, these   a delayed event, which may replace one; 'unwake', id: not any more
--       'answer', which key, lifetime in ms, number of fields and values, these
-- Answers as commit does, and is a link of the same chain.
local slot, cursors, dead, parked, keys, released, tries, state, marked, reminders, outbox, delayed, entries = unpack(KEYS)
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
if state then
  redis.call('HLEN', state)
  redis.call('SCARD', marked)
  redis.call('HLEN', reminders)
  redis.call('XLEN', outbox)
  redis.call('ZCARD', delayed)
  redis.call('HLEN', entries)
  for i = 14, #KEYS do redis.call('XLEN', KEYS[i]) end
end

-- A release that came after it began to run still stands: what it was to mend may be mended by now. An operator may have
-- dropped all of the key, too.
local function hold(key, operated, tried, wait)
  if (redis.call('HGET', slot, 'operated') or '0') == operated then redis.call('SREM', released, key) end
  local due = wait < 0 and '0' or string.format('%.0f', now_ms() + wait)
  if redis.call('HEXISTS', keys, key) == 1 then redis.call('HSET', tries, key, tried .. ' ' .. due) end
end

local lists = {save = {'HSET', state}, drop = {'HDEL', state}, mark = {'SADD', marked}, unmark = {'SREM', marked}}

-- Carries out the change that stands there, and says where the next one does.
local function carry_out(at)
  local what = ARGV[at]
  if lists[what] then
    local last = at + 1 + tonumber(ARGV[at + 1])
    redis.call(lists[what][1], lists[what][2], unpack(ARGV, at + 2, last))
    return last + 1
  elseif what == 'emit' or what == 'bury' then
    local last = at + 1 + tonumber(ARGV[at + 1])
    redis.call('XADD', what == 'emit' and outbox or dead, '*', unpack(ARGV, at + 2, last))
    return last + 1
  elseif what == 'park' then
    local last = at + 2 + tonumber(ARGV[at + 2])
    redis.call('XADD', parked, '*', unpack(ARGV, at + 3, last))
    redis.call('HINCRBY', keys, ARGV[at + 1], 1)
    return last + 1
  elseif what == 'done' then
    unpark(parked, keys, released, tries, ARGV[at + 1], ARGV[at + 2])
    return at + 3
  elseif what == 'hold' then
    hold(ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4]))
    return at + 5
  elseif what == 'remind' then
    if ARGV[at + 2] == '' then redis.call('HDEL', reminders, ARGV[at + 1])
    else redis.call('HSET', reminders, ARGV[at + 1], ARGV[at + 2]) end
    return at + 3
  elseif what == 'wake' then
    local last = at + 3 + tonumber(ARGV[at + 3])
    -- No log is too full for it: 2^53 events are its cap.
    redis.call('HSET', entries, ARGV[at + 1], cmsgpack.pack({'9007199254740992', 'block', unpack(ARGV, at + 4, last)}))
    redis.call('ZADD', delayed, ARGV[at + 2], ARGV[at + 1])
    return last + 1
  elseif what == 'unwake' then
    redis.call('ZREM', delayed, ARGV[at + 1])
    redis.call('HDEL', entries, ARGV[at + 1])
    return at + 2
  elseif what == 'answer' then
    local to, last = KEYS[tonumber(ARGV[at + 1])], at + 3 + tonumber(ARGV[at + 3])
    redis.call('XADD', to, 'MAXLEN', '=', 1000, '*', unpack(ARGV, at + 4, last))
    redis.call('PEXPIRE', to, ARGV[at + 2])
    return last + 1
  end
  redis.call('HSET', slot, 'stopped', ARGV[at + 1])
  return at + 2
end

redis.call('HSET', slot, 'number', number, 'count', ARGV[6])
redis.call('HSET', cursors, ARGV[1], ARGV[5])
local at = 7
while at <= #ARGV do at = carry_out(at) end
return 'OK'
