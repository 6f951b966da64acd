#!lua
-- Moves delayed events that are due into the log, in the order of their due times; any worker may, at any time.
-- KEYS: delayed, delayed entries, log, cursors, counts
-- ARGV: ms by which due times are ahead of the clock, how many events to move at most, how many bytes
-- Answers events moved, events dropped for their room, ms until the next one is due (0: at once, -1: there is none),
--         whether the log is full, and the processor that holds it back ('' if none is registered)
-- Each event has its place in a full log as its sender's stream says: it waits, and all behind it, or the oldest is dropped.
-- Reminders, whose ids begin with '~', are not held back by any cap, and so not by those that wait for room either.
local delayed, entries, log, cursors, counts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, most, most_bytes = now_ms() + tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local moved, dropped, bytes, full, holder = 0, 0, 0, 0, ''
local FARTHEST = 10000 -- so many that wait for room are passed, at most

local length = redis.call('XLEN', log)
redis.call('HLEN', counts)

local function due(from, count)
  return redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', from, count)
end

-- Whether there is room for an entry; if not, the log is full.
local function has_room(entry)
  local cap = tonumber(entry[1])
  if length >= cap then length = length - drop_done(log, cursors) end
  if length < cap then return true end
  if entry[2] ~= 'drop_oldest' then
    local _, processor = slowest(cursors)
    full, holder = 1, processor or ''
    return false
  end
  local gone = redis.call('XTRIM', log, 'MAXLEN', '=', cap - 1)
  length, dropped = length - gone, dropped + gone
  return true
end

-- Moves one, if there is room. False: no more is to be moved.
local function move(id)
  local packed = redis.call('HGET', entries, id)
  if packed then
    bytes = bytes + #packed
    if moved > 0 and bytes > most_bytes then return false end
    local entry = cmsgpack.unpack(packed)
    if not has_room(entry) then return false end
    redis.call('XADD', log, '*', unpack(entry, 3))
    length, moved = length + 1, moved + 1
  end
  redis.call('ZREM', delayed, id)
  redis.call('HDEL', entries, id)
  return true
end

for _, id in ipairs(due(0, most)) do
  if not move(id) then break end
end

local from = full == 1 and 0 or FARTHEST
while from < FARTHEST and moved < most do
  local page = due(from, 1000)
  if #page == 0 then break end
  for _, id in ipairs(page) do
    if string.sub(id, 1, 1) ~= '~' then
      from = from + 1
    elseif moved >= most or not move(id) then
      from = FARTHEST
      break
    end
  end
end
if dropped > 0 then redis.call('HINCRBY', counts, 'dropped', dropped) end

local following = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
local wait = following[2] and math.max(0, tonumber(following[2]) - now) or -1
return {moved, dropped, wait, full, holder}
