#!lua flags=allow-oom
-- Keeps a worker a member of its app, removes members whose time is up, and says what has changed.
-- KEYS: members, workers, membership, then the assignment of each processor that the worker runs
-- ARGV: worker, what it says of itself, lease in ms, the membership's version that it knows, then that of each assignment
-- Answers the registry's history, version, ms since it changed, members with what they say (nil if the version is the
--         known one), then for each assignment its version, the membership's that it is for, and owners (nil if it is the known one)
-- What a member says of itself is part of the membership: other processors are a change.
-- Versions count within one history: a promoted server may never have had those that a worker knows, and one that was
-- flushed begins anew. So the registry's history is the server's, and which worker began the registry when.
local members, workers, membership = KEYS[1], KEYS[2], KEYS[3]
local worker, about, lease, known = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local now, history_now = now_ms(), history()

if redis.call('HGET', membership, 'history') ~= history_now then -- nobody could beat while the server was away
  for _, member in ipairs(redis.call('ZRANGE', members, 0, -1)) do redis.call('ZADD', members, now + lease, member) end
  redis.call('HSET', membership, 'history', history_now)
end

local begun = redis.call('HGET', membership, 'begun')
if not begun then
  begun = worker .. '/' .. now
  redis.call('HSET', membership, 'begun', begun)
end

local changed = false
redis.call('ZADD', members, now + lease, worker)
if redis.call('HGET', workers, worker) ~= about then
  redis.call('HSET', workers, worker, about)
  changed = true
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', members, '-inf', now)) do
  redis.call('ZREM', members, gone)
  redis.call('HDEL', workers, gone)
  changed = true
end
if changed then
  redis.call('HINCRBY', membership, 'version', 1)
  redis.call('HSET', membership, 'changed', now)
end

local found = redis.call('HMGET', membership, 'version', 'changed')
local answer = {history_now .. '/' .. begun, tonumber(found[1]), now - tonumber(found[2]), false}
if found[1] ~= known then answer[4] = redis.call('HGETALL', workers) end
for i = 4, #KEYS do
  local assigned = redis.call('HMGET', KEYS[i], 'version', 'membership', 'owners')
  local is_news = assigned[1] and assigned[1] ~= ARGV[i + 1]
  answer[i + 1] = is_news and {tonumber(assigned[1]), tonumber(assigned[2]), assigned[3]}
end
return answer
