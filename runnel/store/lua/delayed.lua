#!lua flags=no-writes
-- Shows delayed events, in the order of their due times, or the last due first: whoever goes through all of them that way
-- is not thrown off by those that are moved into the log meanwhile.
-- KEYS: delayed, delayed entries
-- ARGV: how many to pass over, how many to show, 'first' or 'last'
-- Answers how many there are, then for each its id, due time in ms, and fields
local from = tonumber(ARGV[1])
local command = ARGV[3] == 'first' and 'ZRANGE' or 'ZREVRANGE'
local found = redis.call(command, KEYS[1], from, from + tonumber(ARGV[2]) - 1, 'WITHSCORES')
local answer = {redis.call('ZCARD', KEYS[1])}
for i = 1, #found, 2 do
  local packed = redis.call('HGET', KEYS[2], found[i])
  local entry = packed and cmsgpack.unpack(packed) or {}
  answer[#answer + 1] = {found[i], tonumber(found[i + 1]), {unpack(entry, 3)}}
end
return answer
