#!lua flags=no-writes
-- Calls the roll of an app: who is a member, for how long yet, what it says of itself, and who leads.
-- KEYS: members, workers, leader
-- Answers the leader ('' if nobody leads), then for each member its name, ms left, and what it says.
-- A leader's token of an older history is void, whatever its deadline says.
local now = now_ms()
local held = redis.call('HMGET', KEYS[3], 'owner', 'deadline', 'history')
local leads = held[1] and tonumber(held[2]) > now and held[3] == history()
local answer = {leads and held[1] or ''}
local members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #members, 2 do
  answer[#answer + 1] = {members[i], tonumber(members[i + 1]) - now, redis.call('HGET', KEYS[2], members[i])}
end
return answer
