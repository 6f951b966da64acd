#!lua flags=allow-oom
-- Deletes a partition: its log, and all that processors and producers have noted of it.
-- KEYS: log, cursors, counts, delayed, delayed entries, relayed; then for each processor its slot, its outbox and its other keys
-- ARGV: 'force' or 'ask' (refuse while somebody owns it, or has not done its events), how many keys a processor has, the processors
-- Answers 'OK' | 'HELD', owner, ms left | 'UNDONE', processor, how many | 'CHANGED': other processors are registered than those
-- Whoever owned it is fenced: no token is that of a slot which is not there.
local force, size = ARGV[1] == 'force', tonumber(ARGV[2])
local known, slot_of = {}, {}
for i = 3, #ARGV do
  known[ARGV[i]] = true
  slot_of[ARGV[i]] = KEYS[7 + (i - 3) * size]
end
local cursors = redis.call('HGETALL', KEYS[2])
for i = 1, #cursors, 2 do
  if not known[cursors[i]] then return {'CHANGED'} end
end

if not force then
  local now, here = now_ms(), history()
  for _, slot in pairs(slot_of) do
    local held = redis.call('HMGET', slot, 'owner', 'deadline', 'history')
    local left = tonumber(held[2] or '0') - now
    if left > 0 and held[3] == here then return {'HELD', held[1], left} end
  end
  local last, _, length = extent(KEYS[1])
  for i = 1, #cursors, 2 do
    if length > 0 and before(cursors[i + 1], last) then return {'UNDONE', cursors[i], length} end
  end
  if #cursors == 0 and length > 0 then return {'UNDONE', '', length} end
  local delayed = redis.call('ZCARD', KEYS[4])
  if delayed > 0 then return {'UNDONE', '', delayed} end
  for i = 3, #ARGV do
    local waiting = redis.call('XLEN', KEYS[8 + (i - 3) * size])
    if waiting > 0 then return {'UNDONE', ARGV[i], waiting} end
  end
end
for i = 1, #KEYS do redis.call('UNLINK', KEYS[i]) end
return {'OK'}
