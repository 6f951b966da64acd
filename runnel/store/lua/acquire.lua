#!lua flags=allow-oom
-- Takes a partition for a processor, if nobody holds it.
-- KEYS: slot, cursors, log, parked, parked keys, released keys, tries
-- ARGV: processor, worker, nonce, lease in ms, start ('earliest' or 'latest', for a processor that is not registered)
-- Answers 'OK', epoch, cursor, count, crashes, culprit ('': none),
--         parked events, how often operators changed them, parked keys, those to run again,
--         how often each was tried and when it is next, the time
--       | 'HELD', owner, ms left | 'STOPPED', why: until an operator reopens it | 'PAUSED', how: until one resumes it
-- The same nonce again gets the same answer: its reply may have been lost.
-- A token of an older history is void, so nobody has to wait for the end of its lease.
local slot, cursors, log = KEYS[1], KEYS[2], KEYS[3]
local processor, worker, nonce, lease, start = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

local function granted(epoch)
  local cursor, count = redis.call('HGET', cursors, processor), redis.call('HGET', slot, 'count')
  local crashes, _, culprit = suspicion(slot)
  return {'OK', epoch, cursor, count, crashes, culprit, parked_now(slot, KEYS[4], KEYS[5], KEYS[6], KEYS[7])}
end

-- Whether there is anything that may run. The log may be something else by now: that is no reason to refuse.
local function waits()
  local following = redis.pcall('XRANGE', log, '(' .. redis.call('HGET', cursors, processor), '+', 'COUNT', 1)
  return #following > 0 or redis.call('XLEN', KEYS[4]) > 0
end

local held = redis.call('HMGET', slot, 'owner', 'epoch', 'nonce', 'deadline', 'history', 'stopped', 'paused')
if held[6] then return {'STOPPED', held[6]} end
local now, history_now = now_ms(), history()
if held[3] == nonce and holds(slot, held[2], nonce) then
  redis.call('HSET', slot, 'deadline', now + lease)
  return granted(held[2])
end
if held[7] then return {'PAUSED', held[7]} end -- whoever has it already, has it: that is told with its renewal
local left = tonumber(held[4] or '0') - now
if left > 0 and held[3] ~= '' and held[5] == history_now then return {'HELD', held[1], left} end

if redis.call('HEXISTS', cursors, processor) == 0 then register(cursors, log, slot, processor, start) end

-- Who had it last has died, hangs or was cut off, unless it gave the partition back, or the server was restarted.
local crashes, suspect, culprit = suspicion(slot)
if held[1] and held[1] ~= '' and held[5] == history_now then
  crashes = waits() and crashes + 1 or 0
  if suspect ~= '' then culprit = suspect end
end
local epoch = redis.call('HINCRBY', slot, 'epoch', 1)
redis.call('HSET', slot, 'owner', worker, 'nonce', nonce, 'history', history_now, 'deadline', now + lease, 'number', 0)
redis.call('HSET', slot, 'crashes', crashes, 'suspect', '', 'culprit', culprit)
mirror(slot, cursors, log, processor, true)
return granted(tostring(epoch))
