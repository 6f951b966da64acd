#!lua flags=allow-oom
-- Takes the lease of the app's leader if nobody has it, or prolongs it.
-- KEYS: leader
-- ARGV: worker, nonce, lease in ms
-- Answers epoch, or 0 | who leads
-- A token of an older history is void, as everywhere: the server may have lost whom it was given to since.
local leader, nonce, lease = KEYS[1], ARGV[2], tonumber(ARGV[3])
local held = redis.call('HMGET', leader, 'owner', 'epoch', 'nonce', 'deadline', 'history')
local now, history_now = now_ms(), history()
if held[3] == nonce and held[5] == history_now then
  redis.call('HSET', leader, 'deadline', now + lease)
  return {tonumber(held[2]), held[1]}
end
if held[3] and held[3] ~= '' and tonumber(held[4]) > now and held[5] == history_now then return {0, held[1]} end
local epoch = redis.call('HINCRBY', leader, 'epoch', 1)
redis.call('HSET', leader, 'owner', ARGV[1], 'nonce', nonce, 'history', history_now, 'deadline', now + lease)
return {epoch, ARGV[1]}
