#!lua flags=allow-oom
-- What operators do to parked events. Their owner, which looks for it, carries on from there.
-- KEYS: slot, parked, parked keys, released keys, tries
-- ARGV: 'release', then keys that are to run again | 'discard', then for each event its key and id, which are dropped
-- Answers how many keys or events it found.
local slot, parked, keys, released, tries = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local found = 0
redis.call('XLEN', parked)
redis.call('HLEN', slot)
redis.call('SCARD', released)
redis.call('HLEN', tries)
if ARGV[1] == 'release' then
  for i = 2, #ARGV do
    if redis.call('HEXISTS', keys, ARGV[i]) == 1 then
      redis.call('SADD', released, ARGV[i])
      found = found + 1
    end
  end
else
  for i = 2, #ARGV, 2 do found = found + unpark(parked, keys, released, tries, ARGV[i], ARGV[i + 1]) end
end
redis.call('HINCRBY', slot, 'operated', 1)
return found
