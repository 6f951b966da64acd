#!lua flags=allow-oom
-- Drops the entries that every processor has done. The minimum is taken here, inside: a processor may register meanwhile.
-- KEYS: log, cursors
-- Answers how many it dropped.
return drop_done(KEYS[1], KEYS[2])
