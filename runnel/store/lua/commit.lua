#!lua flags=allow-oom
-- Moves a processor's cursor, under a token, as one link of a numbered chain.
-- KEYS: slot, cursors
-- ARGV: processor, epoch, nonce, number, cursor, count
-- Answers 'OK' | 'ALREADY' (this very commit was here before) | 'FENCED' | 'CONFLICT' (not the next of the chain)
local slot, cursors = KEYS[1], KEYS[2]
if not holds(slot, ARGV[2], ARGV[3]) then return 'FENCED' end
local last, number = tonumber(redis.call('HGET', slot, 'number')), tonumber(ARGV[4])
if number == last then return 'ALREADY' end
if number ~= last + 1 then return 'CONFLICT' end
redis.call('HSET', slot, 'number', number, 'count', ARGV[6])
redis.call('HSET', cursors, ARGV[1], ARGV[5])
return 'OK'
