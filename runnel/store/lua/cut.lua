#!lua flags=allow-oom
-- Drops the oldest entries of a log, at most 500 a call, so that a long log does not hold up the server.
-- KEYS: log, cursors
-- ARGV: up to which id, exclusively ('': whatever its id), how many entries are to stay, 'force' or 'ask' (only what every
--       processor has done; with none registered, nothing)
-- Answers how many it dropped. Called again until that is 0, all is dropped.
-- The smallest cursor is taken here, inside: a processor may register meanwhile, or be set back.
local log, cursors = KEYS[1], KEYS[2]
local most = math.min(500, redis.call('XLEN', log) - tonumber(ARGV[2]))
if most <= 0 then return 0 end
local done = '18446744073709551615-18446744073709551615'
if ARGV[3] ~= 'force' then done = slowest(cursors) or '0-0' end

local last
for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', most)) do
  local id = entry[1]
  if before(done, id) or (ARGV[1] ~= '' and not before(id, ARGV[1])) then break end
  last = id
end
if not last then return 0 end
local ms, seq = string.match(last, '^(%d+)-(%d+)$')
if tonumber(seq) >= 9007199254740991 then return redis.call('XDEL', log, last) end -- no number here is exactly one above
return redis.call('XTRIM', log, 'MINID', '=', ms .. '-' .. string.format('%.0f', tonumber(seq) + 1))
