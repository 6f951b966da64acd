-- Put in front of every script by scripts.py.

-- Stream ids are compared as two whole numbers of up to 64 bits; a Lua number would lose the last bits.
local function smaller(a, b)
  return #a < #b or (#a == #b and a < b)
end

local function before(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then return smaller(a_ms, b_ms) end
  return smaller(a_seq, b_seq)
end

-- The smallest cursor of all processors, and whose it is; nothing when none is registered.
local function slowest(cursors)
  local names = redis.call('HGETALL', cursors)
  local cursor, processor
  for i = 1, #names, 2 do
    if not cursor or before(names[i + 1], cursor) then processor, cursor = names[i], names[i + 1] end
  end
  return cursor, processor
end

-- Drops the entries that every processor has done. XTRIM MINID keeps the id itself, hence the next one.
local function drop_done(log, cursors)
  local cursor = slowest(cursors)
  if not cursor then return 0 end
  local ms, seq = string.match(cursor, '^(%d+)-(%d+)$')
  if tonumber(seq) < 9007199254740991 then cursor = ms .. '-' .. string.format('%.0f', tonumber(seq) + 1) end
  return redis.call('XTRIM', log, 'MINID', '=', cursor)
end

-- Last id ever given, entries ever added, entries held, and the id of the first of these.
local function extent(log)
  if redis.call('EXISTS', log) == 0 then return '0-0', 0, 0, '0-0' end
  local info, found = redis.call('XINFO', 'STREAM', log), {}
  for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
  local first = found['first-entry']
  return found['last-generated-id'], found['entries-added'], found['length'], first and first[1] or '0-0'
end

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- Changes at every promotion and restart: what a token of an older history says may have been lost since.
local function history()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end

-- A token is its slot's epoch and nonce, in the server's present history. A slot that nobody holds has an empty nonce.
local function holds(slot, epoch, nonce)
  local held = redis.call('HMGET', slot, 'epoch', 'nonce', 'history')
  return nonce ~= '' and held[1] == epoch and held[2] == nonce and held[3] == history()
end

-- Commits are a chain: the number of each is one above the last one's. Answers 'OK' | 'ALREADY' (this very commit was here
-- before) | 'FENCED' | 'CONFLICT' (not the next of the chain)
local function chained(slot, epoch, nonce, number)
  if not holds(slot, epoch, nonce) then return 'FENCED' end
  local last = tonumber(redis.call('HGET', slot, 'number'))
  if number == last then return 'ALREADY' end
  if number ~= last + 1 then return 'CONFLICT' end
  return 'OK'
end

-- How many owners in a row were lost, not released, since the last commit; the event that runs alone; the one that ran alone
-- when its owner was lost ('' where there is none). A commit of the present term (its number is not 0 then) clears all three.
local function suspicion(slot)
  local held = redis.call('HMGET', slot, 'number', 'crashes', 'suspect', 'culprit')
  if tonumber(held[1] or '0') > 0 then return 0, '', '' end
  return tonumber(held[2] or '0'), held[3] or '', held[4] or ''
end

-- Where a processor starts that has no cursor yet: before all that is there, or behind it.
local function register(cursors, log, slot, processor, start)
  local last, added, length = extent(log)
  if start == 'latest' then
    redis.call('HSET', cursors, processor, last)
    redis.call('HSET', slot, 'count', added)
  else
    redis.call('HSET', cursors, processor, '0-0')
    redis.call('HSET', slot, 'count', added - length)
  end
end

-- What an owner must know of parked events: how many there are, how often operators have changed them, the keys that are
-- parked, those of them that are to run again, for each key that failed how often it was tried again and when it is next
-- (ms), and the server's time in ms.
local function parked_now(slot, parked, keys, released, tries)
  local operated = tonumber(redis.call('HGET', slot, 'operated') or '0')
  local parked_keys, released_keys = redis.call('HKEYS', keys), redis.call('SMEMBERS', released)
  return redis.call('XLEN', parked), operated, parked_keys, released_keys, redis.call('HGETALL', tries), now_ms()
end

-- Takes an event out of the parked ones; with its last one the key is free. Answers 1 if it was there.
local function unpark(parked, keys, released, tries, key, id)
  if redis.call('XDEL', parked, id) == 0 then return 0 end
  if redis.call('HINCRBY', keys, key, -1) <= 0 then
    redis.call('HDEL', keys, key)
    redis.call('SREM', released, key)
    redis.call('HDEL', tries, key)
  end
  return 1
end

-- Shows a processor's cursor in a consumer group of the log, which nothing here ever reads: whatever a user has done to
-- the group, or to the log, must not stop the script, and the next call sets it right. 'mirrored' in the slot is the
-- cursor that was shown last; as long as it stays the same there is nothing to do, unless 'always'.
local function mirror(slot, cursors, log, processor, always)
  local held = redis.call('HMGET', slot, 'mirrored', 'count')
  local cursor = redis.pcall('HGET', cursors, processor)
  if type(cursor) ~= 'string' or (cursor == held[1] and not always) then return end

  local there, last, added, length, first = pcall(extent, log)
  if not there then return end
  local read = math.min(added, math.max(tonumber(held[2] or '0'), added - length)) -- what was dropped counts as read
  if cursor == last then
    read = added
  elseif length > 0 and before(cursor, first) then
    read = added - length
  end
  local done = redis.pcall('XGROUP', 'SETID', log, processor, cursor, 'ENTRIESREAD', read)
  if done.err then done = redis.pcall('XGROUP', 'CREATE', log, processor, cursor, 'MKSTREAM', 'ENTRIESREAD', read) end
  if not done.err then redis.call('HSET', slot, 'mirrored', cursor) end
end
