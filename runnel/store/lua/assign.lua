#!lua flags=allow-oom
-- Stores an assignment, unless it was computed from what is not true any more.
-- KEYS: assignment, membership, control
-- ARGV: version of the assignment that it was computed from, version of the membership, owners, a notice or ''
-- Answers its version, or 0 when another was stored, or the membership changed, meanwhile.
if redis.call('HGET', KEYS[2], 'version') ~= ARGV[2] then return 0 end
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1] + 1, 'membership', ARGV[2], 'owners', ARGV[3])
-- A notice is but a hint: whatever lies under its key must not undo the rest.
if ARGV[4] ~= '' then redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', 1000, '*', 'notice', ARGV[4]) end
return ARGV[1] + 1
