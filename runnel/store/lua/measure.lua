#!lua flags=no-writes
-- Counts entries after an id, at most 500 a call, so that a long log does not hold up the server.
-- KEYS: log
-- ARGV: after which id
-- Answers how many, the last of them, entries ever added to the log.
local last, added = extent(KEYS[1])
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 500)
return {#entries, #entries > 0 and entries[#entries][1] or ARGV[1], added}
