"""Takes each guard out of the Lua scripts in turn, and runs the tests of the scripts: every time one must fail.

    python -m tests.guards

A guard that no test misses is a guard that the next change may lose. The copy that is broken lies in a temporary folder.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runnel.handling.window import Window
from runnel.store.scripts import SCRIPTS, Script

ROOT = Path(__file__).parent.parent
TESTS = ("tests/integration/scripts", "tests/model/test_scripts.py")


class Guard(NamedTuple):
    """What is replaced in which script, and what that guard is for."""

    script: str
    old: str
    new: str
    purpose: str

    def taken_from(self, source: str) -> str:
        """The script's text without the guard."""
        if self.old not in source:
            raise SystemExit(f"{self.script}.lua has no {self.old!r} any more")
        return source.replace(self.old, self.new, 1)


GUARDS = [
    Guard("common", "held[1] == epoch and ", "", "token: the epoch"),
    Guard("common", "held[2] == nonce and ", "", "token: the nonce"),
    Guard("common", " and held[3] == history()", "", "token: the history"),
    Guard("common", "nonce ~= '' and ", "", "token: a released slot's nonce is nobody's"),
    Guard("common", "#a < #b or (#a == #b and a < b)", "tonumber(a) < tonumber(b)", "ids: 64 bits"),
    Guard("common", "#a < #b or (#a == #b and a < b)", "a < b", "ids: compared as numbers"),
    Guard("common", "if a_ms ~= b_ms then return smaller(a_ms, b_ms) end", "", "ids: the milliseconds"),
    Guard(
        "common", "before(names[i + 1], cursor)", "before(cursor, names[i + 1])", "trim: the slowest, not the fastest"
    ),
    Guard(
        "common", "if not cursor then return 0 end", "if not cursor then cursor = '99-0' end", "trim: none registered"
    ),
    Guard("common", "tonumber(seq) + 1", "tonumber(seq)", "trim: the cursor's own entry goes"),
    Guard("common", "tonumber(seq) + 1", "tonumber(seq) + 2", "trim: the entry after it stays"),
    Guard("common", "if tonumber(seq) < 9007199254740991 then", "if true then", "trim: beyond what a double counts"),
    Guard("common", "id'], found['entries-added']", "id'], found['length']", "register: entries ever added"),
    Guard("common", "'count', added - length", "'count', 0", "register: the count of a log that was trimmed"),
    Guard(
        "acquire",
        "if held[3] == nonce and holds(slot, held[2], nonce) then",
        "if false then",
        "acquire: the same nonce",
    ),
    Guard("acquire", "holds(slot, held[2], nonce)", "true", "acquire: the same nonce, another history"),
    Guard("acquire", "if held[7] then", "if false then", "acquire: what is paused is nobody's"),
    Guard("acquire", "if held[3] == nonce", "if not held[7] and held[3] == nonce", "acquire: the same nonce, paused meanwhile"),
    Guard("renew", "if paused then", "if false then", "renew: its owner hears that it is paused"),
    Guard("pause", "since = was.since or since", "since = since", "pause: since it was first"),
    Guard("pause", "reason == '' and ", "", "pause: a new reason"),
    Guard("pause", "pcall(cjson.decode, paused)", "true, cjson.decode(paused)", "pause: a mark that is none of ours"),
    Guard("acquire", "left > 0 and ", "", "acquire: a lease that ran out"),
    Guard("acquire", "if left > 0", "if false and left > 0", "acquire: a lease that did not"),
    Guard("acquire", " and held[5] == history_now", "", "acquire: a token of another history is void"),
    Guard("acquire", "  redis.call('HSET', slot, 'deadline', now + lease)\n", "", "acquire: the same nonce prolongs"),
    Guard("acquire", "HINCRBY', slot, 'epoch', 1", "HINCRBY', slot, 'epoch', 0", "acquire: a new epoch"),
    Guard("acquire", ", 'number', 0", "", "acquire: a new chain"),
    Guard(
        "acquire", "if redis.call('HEXISTS', cursors, processor) == 0 then", "if true then", "acquire: a cursor stays"
    ),
    Guard("common", "cursor == held[1] and not always", "false", "mirror: a renewal sets it only when it changed"),
    Guard(
        "common",
        "math.max(tonumber(held[2] or '0'), added - length)",
        "tonumber(held[2] or '0')",
        "mirror: no lag above the log",
    ),
    Guard("common", "math.min(added, math.max", "math.max(0, math.max", "mirror: no lag below zero"),
    Guard(
        "common", "if cursor == last then\n    read = added", "if false then\n    read = added", "mirror: at the end"
    ),
    Guard("common", "elseif length > 0 and before(cursor, first)", "elseif false", "mirror: before the beginning"),
    Guard("common", "if done.err then done = ", "if false then done = ", "mirror: a group that is not there is made"),
    Guard("common", "'MKSTREAM', ", "", "mirror: a log that is not there is made"),
    Guard("common", "if not there then return end", "", "mirror: the log is something else"),
    Guard(
        "common",
        "local there, last, added, length, first = pcall(extent, log)",
        "local there, last, added, length, first = true, extent(log)",
        "mirror: the log is something else, to which extent fails",
    ),
    Guard(
        "common", "redis.pcall('XGROUP', 'SETID'", "redis.call('XGROUP', 'SETID'", "mirror: a group that cannot be set"
    ),
    Guard(
        "common",
        "redis.pcall('XGROUP', 'CREATE'",
        "redis.call('XGROUP', 'CREATE'",
        "mirror: a group that cannot be made",
    ),
    Guard(
        "common",
        "if not done.err then redis.call('HSET', slot, 'mirrored'",
        "if true then redis.call('HSET', slot, 'mirrored'",
        "mirror: what could not be shown is shown later",
    ),
    Guard("acquire", "mirror(slot, cursors, log, processor, true)", "", "mirror: acquire"),
    Guard("renew", "mirror(KEYS[1], KEYS[2], KEYS[3], ARGV[4], false)", "", "mirror: renew"),
    Guard("release", "mirror(KEYS[1], KEYS[2], KEYS[3], ARGV[3], true)", "", "mirror: release"),
    Guard("release", "ARGV[3], true)", "ARGV[3], false)", "mirror: release, without progress"),
    Guard("reset", "mirror(slot, cursors, log, ARGV[1], true)", "", "mirror: reset"),
    Guard("look", "before(cursor, last) and ", "", "look: the highest id of all"),
    Guard("look", "'(' .. cursor", "cursor", "look: after the cursor, not at it"),
    Guard("common", "if not holds(slot, epoch, nonce) then return 'FENCED' end", "", "commit: fenced"),
    Guard("common", "if number == last then return 'ALREADY' end", "", "commit: already"),
    Guard("common", "if number ~= last + 1 then return 'CONFLICT' end", "", "commit: the chain"),
    Guard("common", "if number ~= last + 1", "if number < last + 1", "commit: no gap in the chain"),
    Guard("commit", "if answer ~= 'OK' then return answer end", "", "commit: a link of the chain"),
    Guard("move", "if answer ~= 'OK' then return answer end", "", "move: a link of the same chain"),
    Guard("move", "redis.call('XLEN', dead)", "", "move: checked first, dead letters"),
    Guard("move", "redis.call('XLEN', parked)", "", "move: checked first, parked events"),
    Guard("move", "redis.call('HLEN', keys)", "", "move: checked first, parked keys"),
    Guard("move", "redis.call('SCARD', released)", "", "move: checked first, released keys"),
    Guard("move", "redis.call('HINCRBY', keys, ARGV[at + 1], 1)", "", "move: the key is parked"),
    Guard("move", "redis.call('HLEN', tries)\nif state", "if state", "move: checked first, tries"),
    Guard("move", "redis.call('SREM', released, key)", "", "move: a key that failed again is held"),
    Guard("move", "== operated then", "then", "move: a release that came meanwhile stands"),
    Guard("move", "if redis.call('HEXISTS', keys, key) == 1 then", "if true then", "move: only parked keys are tried again"),
    Guard("move", "now_ms() + wait)", "now_ms())", "move: when a key is tried again"),
    Guard("common", "    redis.call('HDEL', tries, key)\n", "", "unpark: a free key is not tried again"),
    Guard("common", "redis.call('HKEYS', keys)", "{}", "parked: who takes over is told the keys"),
    Guard("common", "if redis.call('XDEL', parked, id) == 0 then return 0 end", "", "unpark: once"),
    Guard("common", "    redis.call('HDEL', keys, key)\n", "", "unpark: the last event frees the key"),
    Guard("common", "    redis.call('SREM', released, key)\n", "", "unpark: a free key is not released"),
    Guard("unpark", "redis.call('HINCRBY', slot, 'operated', 1)", "", "unpark: the owner notices"),
    Guard("unpark", "if redis.call('HEXISTS', keys, ARGV[i]) == 1 then", "if true then", "unpark: parked keys only"),
    Guard("revive", "    redis.call('XDEL', dead, ARGV[i + 1])\n", "", "revive: once"),
    Guard("revive", "    redis.call('SADD', released, ARGV[i])\n", "", "revive: its key runs again"),
    Guard("revive", "redis.call('HINCRBY', slot, 'operated', 1)", "", "revive: the owner notices"),
    Guard("acquire", "if held[6] then return {'STOPPED', held[6]} end", "", "acquire: a partition that is stopped"),
    Guard("acquire", "if held[1] and held[1] ~= '' and held[5]", "if held[5]", "crashes: given back is no crash"),
    Guard("acquire", " and held[5] == history_now then\n  crashes", " then\n  crashes", "crashes: a restart is none"),
    Guard("acquire", "waits() and crashes + 1 or 0", "crashes + 1", "crashes: only while something waits"),
    Guard("acquire", " or redis.call('XLEN', KEYS[4]) > 0", "", "crashes: parked events wait too"),
    Guard("acquire", "redis.pcall('XRANGE', log", "redis.call('XRANGE', log", "crashes: the log is something else"),
    Guard("acquire", "  if suspect ~= '' then culprit = suspect end\n", "", "crashes: a suspect becomes the culprit"),
    Guard("acquire", "'suspect', '', ", "", "crashes: the next owner's suspect is another"),
    Guard("acquire", ", 'culprit', culprit", "", "crashes: the culprit is told"),
    Guard("common", "if tonumber(held[1] or '0') > 0 then return 0, '', '' end", "", "crashes: a commit clears them"),
    Guard("release", "if ARGV[4] ~= 'lost' then", "if true then", "crashes: given back when it was lost is one"),
    Guard("release", "if ARGV[4] == 'well' then", "if true then", "crashes: given back idle leaves the count"),
    Guard("release", "'crashes', 0, ", "", "crashes: given back clears the count"),
    Guard("release", ", 'suspect', '')", ")", "crashes: given back clears the suspect"),
    Guard("reset", "redis.call('HDEL', slot, 'crashes', 'suspect', 'culprit')", "", "crashes: reset clears them"),
    Guard("suspect", "if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 'FENCED' end", "", "crashes: suspect, fenced"),
    Guard("reset", "redis.call('UNLINK', KEYS[4], KEYS[5], KEYS[6], KEYS[7])", "", "reset: what is parked goes"),
    Guard("unregister", "redis.call('UNLINK', KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8])", "", "unregister: nothing is left"),
    Guard("reset", "redis.call('UNLINK', KEYS[8], KEYS[9], KEYS[10])", "", "reset: what actors remember goes"),
    Guard("unregister", "redis.call('UNLINK', KEYS[9], KEYS[10], KEYS[11])", "", "unregister: what actors remember goes"),
    Guard("unregister", "redis.pcall('XTRIM', KEYS[12], 'MAXLEN', '=', 0)", "", "unregister: the outbox is emptied"),
    Guard("unregister", "redis.pcall('XTRIM', KEYS[12], 'MAXLEN', '=', 0)", "redis.call('DEL', KEYS[12])", "outbox: it stays"),
    Guard("unregister", "redis.pcall('XTRIM'", "redis.call('XTRIM'", "unregister: the outbox is something else"),
    Guard("renew", "if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 'FENCED' end", "", "renew: fenced"),
    Guard("release", "if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 'FENCED' end", "", "release: fenced"),
    Guard("release", "'nonce', '', ", "", "release: the nonce goes"),
    Guard("reset", "redis.call('HINCRBY', slot, 'epoch', 1)", "", "reset: another epoch"),
    Guard("reset", "redis.call('HSET', slot, 'owner', '', 'nonce', '', 'deadline', 0)", "", "reset: free at once"),
    Guard("register", "if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 0 end", "", "register: once"),
    Guard("unregister", "if ARGV[2] ~= 'force' and left", "if left", "unregister: forced"),
    Guard("unregister", "if ARGV[2] ~= 'force'", "if false", "unregister: a lease that did not run out"),
    Guard("unregister", " and left > 0", "", "unregister: a lease that ran out"),
    Guard("unregister", " and held[3] == history()", "", "unregister: a token of another history"),
    Guard("unregister", "redis.call('HDEL', cursors, ARGV[1])", "", "unregister: the cursor goes"),
    Guard("unregister", "redis.call('DEL', slot)", "", "unregister: the slot goes"),
    Guard("unregister", "redis.pcall('XGROUP', 'DESTROY', log, ARGV[1])", "", "unregister: the group goes"),
    Guard("unregister", "redis.pcall('XGROUP'", "redis.call('XGROUP'", "unregister: the log is something else"),
    Guard("heartbeat", "if redis.call('HGET', workers, worker) ~= about then", "if false then", "members: what they say"),
    Guard("heartbeat", "ZRANGEBYSCORE', members, '-inf', now", "ZRANGEBYSCORE', members, '-inf', 0", "members: reaped"),
    Guard(
        "heartbeat",
        "if redis.call('HGET', membership, 'history') ~= history_now then",
        "if false then",
        "members: none is reaped for the time when the server was away",
    ),
    Guard("heartbeat", "if found[1] ~= known then", "if false then", "members: told when they have changed"),
    Guard("heartbeat", "assigned[1] and assigned[1] ~= ARGV[i + 1]", "assigned[1]", "assignments: told once"),
    Guard("assign", "if redis.call('HGET', KEYS[2], 'version') ~= ARGV[2] then return 0 end", "", "assign: the members"),
    Guard(
        "assign",
        "if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end",
        "",
        "assign: the assignment before",
    ),
    Guard("elect", "held[3] == nonce and held[5] == history_now", "held[3] == nonce", "leader: the history, prolonged"),
    Guard("elect", " and held[5] == history_now then return {0", " then return {0", "leader: the history, taken"),
    Guard("elect", "tonumber(held[4]) > now", "true", "leader: a lease that ran out"),
    Guard("leave", "== ARGV[2] then", "~= '' then", "leave: only one's own leadership"),
    Guard("roll", "tonumber(held[2]) > now and ", "", "roll: a leader whose lease ran out"),
    Guard("roll", " and held[3] == history()", "", "roll: a leader of an older history"),
    Guard("look", "left <= 0 or ", "", "look: a lease that ran out"),
    Guard("look", " or held[4] ~= history()", "", "look: a token of another history"),
    Guard("append", "if sequence == last_sequence then return {'ALREADY', mark[2], 0} end", "", "append: once"),
    Guard("append", "if sequence < last_sequence then return {'STALE', mark[1]} end", "", "append: too late"),
    Guard("append", "if sequence < last_sequence", "if ARGV[1] < (mark[1] or '')", "append: sequences are numbers"),
    Guard(
        "append", "if not before(last, ARGV[at]) then return {'ID', ARGV[at]} end", "", "append: ids are checked first"
    ),
    Guard("append", "    last = ARGV[at]\n", "", "append: ids ascend among themselves"),
    Guard("append", "if length + entries > cap then\n    if", "if false then\n    if", "append: the cap"),
    Guard("append", "length = length - drop_done(log, cursors)", "", "append: what is done makes room"),
    Guard(
        "append",
        "if length + entries > cap then\n  length",
        "if true then\n  length",
        "append: below the cap nothing goes",
    ),
    Guard("append", "if overflow ~= 'drop_oldest' then", "if false then", "append: nothing is dropped unasked"),
    Guard("append", "redis.call('HINCRBY', counts, 'dropped', dropped)", "", "append: losses are counted"),
    Guard("append", "string.match(entry_id, '^%d+') .. '-*'", "'*'", "append: ids count up"),
    Guard("append", "redis.call('PEXPIRE', producer, lifetime)", "", "append: marks expire"),
    Guard("append", "#!lua\n", "#!lua flags=allow-oom\n", "append: refused when the server is full"),
    *(
        Guard(name, " flags=allow-oom", "", f"{name}: taken when the server is full")
        for name in (
            *("acquire", "commit", "deliver", "move", "register", "release", "renew", "reset", "suspect", "trim"),
            *("unregister", "pause", "resume"),
        )
    ),
    Guard("tick", "if due and claims and string.find", "if false and string.find", "tick: a claim sent again"),
    Guard("tick", "string.match(claim, '^[^:]*') ~= nonce", "true", "tick: one claim of each leader is kept"),
    Guard("tick", "if #kept < 6 and ", "if #kept < 2 and ", "tick: claims of several leaders are kept"),
    Guard("tick", "if #kept < 6 and ", "if ", "tick: not all are kept for ever"),
    Guard("tick", "string.find(' ' .. claims, ' ' .. mine", "string.find(claims, mine", "tick: whole claims are compared"),
    Guard(
        "tick",
        "if not holds(leader, ARGV[2], nonce) then return {'FENCED', now, 0} end",
        "",
        "tick: fenced by the leader's epoch",
    ),
    Guard("tick", "  redis.call('HSET', ticks, job, last .. ' ')\n", "", "tick: a job counts from the first look"),
    Guard(
        "tick", "if due <= tonumber(last) then return {'TAKEN', now, tonumber(last)} end", "", "tick: claimed once"
    ),
    Guard("tick", "due <= tonumber(last)", "ARGV[5] <= last", "tick: compared as numbers"),
    Guard("tick", "if due > now then return {'EARLY', now, tonumber(last)} end", "", "tick: none early"),
    Guard("delay", "if sequence == last_sequence then", "if false then", "delay: once a sequence"),
    Guard("delay", "if sequence < last_sequence then return {'STALE', 0, 0} end", "", "delay: none late"),
    Guard("delay", "redis.call('ZCARD', delayed)\n", "", "delay: checked first, due times"),
    Guard("delay", "redis.call('HLEN', entries)\n", "", "delay: checked first, entries"),
    Guard("delay", "string.format('%016.0f', first + n)", "tostring(first + n)", "delay: numbers in their order"),
    Guard("promote", "'-inf', now, 'LIMIT'", "'-inf', now + 1, 'LIMIT'", "promote: none early"),
    Guard("promote", "ipairs(due(0, most))", "ipairs(due(0, 1000))", "promote: bounded, events"),
    Guard("promote", "if moved > 0 and bytes > most_bytes then return false end", "", "promote: bounded, bytes"),
    Guard("promote", "if moved > 0 and bytes", "if bytes", "promote: one goes, however large"),
    Guard("promote", "length = length - drop_done(log, cursors)", "length = length", "promote: what is done makes room"),
    Guard("promote", "if entry[2] ~= 'drop_oldest' then", "if false then", "promote: a full log holds back"),
    Guard("promote", "full == 1 and 0 or FARTHEST", "FARTHEST", "promote: reminders pass what waits for room"),
    Guard("promote", "if string.sub(id, 1, 1) ~= '~' then", "if false then", "promote: nothing else does"),
    Guard("promote", "elseif moved >= most or not", "elseif not", "promote: bounded, reminders"),
    Guard("promote", "  redis.call('ZREM', delayed, id)\n", "", "promote: once"),
    Guard("promote", "  redis.call('HDEL', entries, id)\n", "", "promote: nothing is left"),
    Guard("promote", "if dropped > 0 then", "if false then", "promote: a loss is counted"),
    Guard("promote", "redis.call('HLEN', counts)\n", "", "promote: checked first, counts"),
    Guard("cancel", "  redis.call('HDEL', KEYS[2], ARGV[i])\n", "", "cancel: nothing is left"),
    Guard("deliver", "if before(mark, ARGV[at]) then", "if true then", "deliver: once"),
    Guard("deliver", "mark, room, fresh[#fresh + 1] = ARGV[at], ", "room, fresh[#fresh + 1] = ", "deliver: a later mark"),
    Guard("deliver", "redis.call('HSET', relayed, ARGV[1], mark)\n", "", "deliver: the mark stays"),
    Guard("deliver", "'HGET', relayed, ARGV[1])", "'HGET', relayed, 'all')", "deliver: a mark of each outbox, read"),
    Guard("deliver", "'HSET', relayed, ARGV[1], mark", "'HSET', relayed, 'all', mark", "deliver: a mark of each outbox, set"),
    Guard("deliver", "redis.call('HLEN', counts)\n", "", "deliver: checked first, counts"),
    Guard("deliver", "length + #fresh > room", "length >= room", "deliver: checked first, cursors"),
    Guard("deliver", "math.min(room, tonumber(ARGV[at + 1]))", "tonumber(ARGV[at + 1])", "deliver: the smallest cap counts"),
    Guard("deliver", "if length + #fresh > room then", "if true then", "deliver: below the cap nothing goes"),
    Guard("deliver", "length = length - drop_done(log, cursors)", "length = length", "deliver: what is done makes room"),
    Guard("deliver", " and ARGV[at + 2] == 'drop_oldest' then", " then", "deliver: nothing is dropped unasked"),
    Guard("deliver", "if dropped > 0 then", "if false then", "deliver: a loss is counted"),
    Guard("deliver", "size < 2 or ", "", "deliver: an event has fields"),
    Guard("deliver", "size % 2 ~= 0 or ", "", "deliver: each field has a value"),
    Guard("deliver", " or at + 3 + size > #ARGV", "", "deliver: an event is whole"),
    Guard("cut", "if ARGV[3] ~= 'force' then done = slowest(cursors) or '0-0' end", "", "cut: what is not done stays"),
    Guard("cut", "slowest(cursors) or '0-0'", "slowest(cursors) or done", "cut: with none registered nothing is done"),
    Guard("cut", "not before(id, ARGV[1])", "before(ARGV[1], id)", "cut: the id itself stays"),
    Guard("cut", "redis.call('XLEN', log) - tonumber(ARGV[2])", "redis.call('XLEN', log)", "cut: so many stay"),
    Guard("cut", "math.min(500, ", "math.min(5000, ", "cut: no more than 500 a call"),
    Guard("cut", "tonumber(seq) + 1", "tonumber(seq)", "cut: the last one goes, too"),
    Guard("cut", "if tonumber(seq) >= 9007199254740991 then", "if false then", "cut: beyond what a double counts"),
    Guard("erase", "if not known[cursors[i]] then return {'CHANGED'} end", "", "erase: all registered ones are known"),
    Guard("erase", "if left > 0 and held[3] == here then", "if false then", "erase: not what is owned"),
    Guard("erase", "length > 0 and before(cursors[i + 1], last)", "false", "erase: not what is not done"),
    Guard("erase", "#cursors == 0 and length > 0", "false", "erase: with none registered nothing is done"),
    Guard("erase", "if delayed > 0 then", "if false then", "erase: not what is delayed"),
    Guard("erase", "if waiting > 0 then", "if false then", "erase: not what is on its way"),
]

WITHOUT = {
    "nonce": ("token: the nonce",),
    "history": ("token: the history",),
    "number": ("commit: already", "commit: the chain"),
    "parked": ("parked: who takes over is told the keys",),
    "relayed": ("deliver: the mark stays",),
    "mark": (),
}
"""What stands between a fault and an accident, under a short name, and the guards that make it up. `mark` is one in Python."""


def _load_no_marks(self: Window, ids: Sequence[bytes]) -> None:
    self.knows_marks = True


def take_out(name: str) -> None:
    """Have this process do without a guard, for faults that show what it is for: see `tests/chaos`."""
    if name == "mark":
        Window.load_marks = _load_no_marks  # type: ignore[method-assign]
    for guard in GUARDS:
        if guard.purpose in WITHOUT[name]:
            for script in list(SCRIPTS.values()):
                if guard.script in ("common", script.name):
                    source = guard.taken_from(script.source.decode()).encode()
                    SCRIPTS[script.name] = Script(script.name, source, hashlib.sha1(source).hexdigest().encode())


def missed(guard: Guard) -> str | None:
    """The first test that fails without the guard."""
    with tempfile.TemporaryDirectory(prefix="runnel-guards-") as folder:
        for name in ("runnel", "tests"):
            shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        script = Path(folder) / "runnel/store/lua" / f"{guard.script}.lua"
        script.write_text(guard.taken_from(script.read_text()))
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        failed = [line for line in run.stdout.splitlines() if line.startswith("FAILED")]
        return failed[0].split("::")[1].split(" ")[0] if failed else None


def main() -> None:
    alone = sys.argv[1:]
    kept = 0
    for guard in GUARDS:
        if alone and not any(word in guard.purpose for word in alone):
            continue
        test = missed(guard)
        kept += test is None
        print(f"{'missed by ' + test if test else 'NOBODY MISSES IT':80} {guard.purpose}", flush=True)
    sys.exit(1 if kept else 0)


if __name__ == "__main__":
    main()
