#!lua flags=allow-oom
-- Appends events of one outbox to the log of one partition that they are for: each once, whoever brings it and however often.
-- KEYS: log, cursors, counts, relayed
-- ARGV: source, then for each event, in the order of the outbox: its id there, cap, overflow, number of fields and values, these
-- Answers events appended, events dropped for their room
-- The source's mark in 'relayed' is the id of the last one appended: what is not above it is here already. So a call has all
-- events of the source for this partition that lie between any two that it has.
-- No cap holds them back: their senders would wait for each other in a circle. Nor does a full server: nothing else ever
-- gives back the memory that they take in the outbox.
local log, cursors, counts, relayed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local mark = redis.call('HGET', relayed, ARGV[1]) or '0-0'
local length = redis.call('XLEN', log)
redis.call('HLEN', counts)

-- There is no going back: a call that makes no sense must fail here, and so must cursors that do not.
local fresh, room, at = {}, math.huge, 2
while at <= #ARGV do
  local size = tonumber(ARGV[at + 3])
  if size < 2 or size % 2 ~= 0 or at + 3 + size > #ARGV then return redis.error_reply('ERR no event: ' .. ARGV[at]) end
  if before(mark, ARGV[at]) then
    mark, room, fresh[#fresh + 1] = ARGV[at], math.min(room, tonumber(ARGV[at + 1])), at
  end
  at = at + 4 + size
end
if length + #fresh > room then length = length - drop_done(log, cursors) end

local dropped = 0
for i = 1, #fresh do
  local at = fresh[i]
  local cap = tonumber(ARGV[at + 1])
  if length >= cap and ARGV[at + 2] == 'drop_oldest' then
    local gone = redis.call('XTRIM', log, 'MAXLEN', '=', cap - 1)
    length, dropped = length - gone, dropped + gone
  end
  redis.call('XADD', log, '*', unpack(ARGV, at + 4, at + 3 + tonumber(ARGV[at + 3])))
  length = length + 1
end
redis.call('HSET', relayed, ARGV[1], mark)
if dropped > 0 then redis.call('HINCRBY', counts, 'dropped', dropped) end
return {#fresh, dropped}
