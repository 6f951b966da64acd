#!lua flags=allow-oom
-- Claims a due time of a job that runs once in the app, or only asks how it stands.
-- KEYS: ticks, leader
-- ARGV: job, the leader's epoch and nonce, ms by which due times are ahead of the clock, due time in ms ('': only ask),
--       the claim's own nonce
-- Answers 'OK' | 'LAST' (only asked) | 'TAKEN' (this one or a later one is claimed) | 'EARLY', each with now and the last
--         due time claimed, in ms | 'FENCED' (another leads)
-- A job counts from the moment at which it is first asked for: no due time from then on is lost with a leader.
-- The same claim again gets the same answer, whoever leads by then: its reply may have been lost, and nobody else runs it.
local ticks, leader = KEYS[1], KEYS[2]
local job, due, claim = ARGV[1], tonumber(ARGV[5]), ARGV[6]
local now = now_ms() + tonumber(ARGV[4])

local known = redis.call('HGET', ticks, job)
local last, claimed_by = string.match(known or '', '^(%d+) (.*)$')
if due and claimed_by == claim then return {'OK', now, tonumber(last)} end
if not holds(leader, ARGV[2], ARGV[3]) then return {'FENCED', now, 0} end
if not last then
  last = string.format('%.0f', now)
  redis.call('HSET', ticks, job, last .. ' ')
end
if not due then return {'LAST', now, tonumber(last)} end
if due <= tonumber(last) then return {'TAKEN', now, tonumber(last)} end
if due > now then return {'EARLY', now, tonumber(last)} end
redis.call('HSET', ticks, job, ARGV[5] .. ' ' .. claim)
return {'OK', now, due}
