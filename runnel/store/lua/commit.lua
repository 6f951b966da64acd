#!lua flags=allow-oom
-- Moves a processor's cursor, under a token, as one link of a numbered chain.
-- KEYS: slot, cursors
-- ARGV: processor, epoch, nonce, number, cursor, count
-- Answers 'OK' | 'ALREADY' (this very commit was here before) | 'FENCED' | 'CONFLICT' (not the next of the chain)
local slot, number = KEYS[1], tonumber(ARGV[4])
local answer = chained(slot, ARGV[2], ARGV[3], number)
if answer ~= 'OK' then return answer end
redis.call('HSET', slot, 'number', number, 'count', ARGV[6])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[5])
return 'OK'
