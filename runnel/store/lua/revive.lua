#!lua flags=allow-oom
-- Has dead letters run again: they move behind the parked events, and their keys are released. Only this processor sees them again.
-- KEYS: slot, dead, parked, parked keys, released keys, tries (as it is)
-- ARGV: for each dead letter its key and id
-- Answers how many it found.
local slot, dead, parked, keys, released = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
redis.call('HLEN', slot)
redis.call('XLEN', parked)
redis.call('HLEN', keys)
redis.call('SCARD', released)
local found = 0
for i = 1, #ARGV, 2 do
  local entry = redis.call('XRANGE', dead, ARGV[i + 1], ARGV[i + 1])[1]
  if entry then
    redis.call('XADD', parked, '*', unpack(entry[2]))
    redis.call('HINCRBY', keys, ARGV[i], 1)
    redis.call('SADD', released, ARGV[i])
    redis.call('XDEL', dead, ARGV[i + 1])
    found = found + 1
  end
end
redis.call('HINCRBY', slot, 'operated', 1)
return found
