#!lua flags=allow-oom
-- Claims a due time of a job that runs once in the app, or only asks how it stands.
-- KEYS: ticks, leader
-- ARGV: job, the leader's epoch and nonce, ms by which due times are ahead of the clock, due time in ms ('': only ask),
--       the claim's own nonce
-- Answers 'OK' | 'LAST' (only asked) | 'TAKEN' (this one or a later one is claimed) | 'EARLY', each with now and the last
--         due time claimed, in ms | 'FENCED' (another leads)
-- A job counts from the moment at which it is first asked for: no due time from then on is lost with a leader.
-- The same claim again gets the same answer, whoever leads by then: its reply may have been lost, and nobody else runs it.
-- For that the last claim of each of the last five leaders is kept: who is cut off has only one on its way.
local ticks, leader = KEYS[1], KEYS[2]
local job, nonce, due = ARGV[1], ARGV[3], tonumber(ARGV[5])
local now, mine = now_ms() + tonumber(ARGV[4]), nonce .. ':' .. ARGV[6]

local last, claims = string.match(redis.call('HGET', ticks, job) or '', '^(%d+) (.*)$')
if due and claims and string.find(' ' .. claims, ' ' .. mine .. ' ', 1, true) then return {'OK', now, tonumber(last)} end
if not holds(leader, ARGV[2], nonce) then return {'FENCED', now, 0} end
if not last then
  last, claims = string.format('%.0f', now), ''
  redis.call('HSET', ticks, job, last .. ' ')
end
if not due then return {'LAST', now, tonumber(last)} end
if due <= tonumber(last) then return {'TAKEN', now, tonumber(last)} end
if due > now then return {'EARLY', now, tonumber(last)} end
local kept = {ARGV[5], mine}
for claim in string.gmatch(claims, '%S+') do
  if #kept < 6 and string.match(claim, '^[^:]*') ~= nonce then kept[#kept + 1] = claim end
end
redis.call('HSET', ticks, job, table.concat(kept, ' ') .. ' ')
return {'OK', now, due}
