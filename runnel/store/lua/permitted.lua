#!lua flags=no-writes
-- Whether the user of this connection may run commands: none of them is run.
-- KEYS: those that the commands are about
-- ARGV: each a command, as a JSON array
-- Answers 1 or 0 for each.
local found = {}
for i = 1, #ARGV do
  found[i] = redis.acl_check_cmd(unpack(cjson.decode(ARGV[i]))) and 1 or 0
end
return found
