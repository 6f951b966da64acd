#!lua flags=allow-oom
-- Takes a partition for a processor, if nobody holds it.
-- KEYS: slot, cursors, log
-- ARGV: processor, worker, nonce, lease in ms, start ('earliest' or 'latest', for a processor that is not registered)
-- Answers 'OK', epoch, cursor, count | 'HELD', owner, ms left
-- The same nonce again gets the same answer: its reply may have been lost.
-- A token of an older history is void, so nobody has to wait for the end of its lease.
local slot, cursors, log = KEYS[1], KEYS[2], KEYS[3]
local processor, worker, nonce, lease, start = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

local held = redis.call('HMGET', slot, 'owner', 'epoch', 'nonce', 'deadline', 'history')
local now, history_now = now_ms(), history()
if held[3] == nonce and holds(slot, held[2], nonce) then
  redis.call('HSET', slot, 'deadline', now + lease)
  return {'OK', held[2], redis.call('HGET', cursors, processor), redis.call('HGET', slot, 'count')}
end
local left = tonumber(held[4] or '0') - now
if left > 0 and held[3] ~= '' and held[5] == history_now then return {'HELD', held[1], left} end

if redis.call('HEXISTS', cursors, processor) == 0 then register(cursors, log, slot, processor, start) end
local epoch = redis.call('HINCRBY', slot, 'epoch', 1)
redis.call('HSET', slot, 'owner', worker, 'nonce', nonce, 'history', history_now, 'deadline', now + lease, 'number', 0)
mirror(slot, cursors, log, processor, true)
return {'OK', tostring(epoch), redis.call('HGET', cursors, processor), redis.call('HGET', slot, 'count')}
