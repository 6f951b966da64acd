#!lua flags=no-writes
-- What an owner must know of parked events, after an operator has changed them.
-- KEYS: slot, parked, parked keys, released keys, tries
-- Answers how many there are, how often operators changed them, parked keys, those that are to run again,
-- how often each was tried and when it is next, the time
return {parked_now(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])}
