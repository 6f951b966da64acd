"""What `runnel doctor` finds: plain data."""

from collections.abc import Iterable
from typing import Literal

import orjson
from attrs import asdict, frozen

from runnel.errors import Unhealthy

Level = Literal["ok", "warning", "problem"]


@frozen
class Finding:
    """How one thing was found.

    Attributes:
        check: What was looked at.
        level: "ok"; "warning": it may become a problem; "problem": it is one.
        said: What was found.
        advice: What to do about it; nothing if it is well.
    """

    check: str
    level: Level
    said: str
    advice: str = ""


def ok(check: str, said: str) -> Finding:
    """It is well."""
    return Finding(check, "ok", said)


def count(findings: Iterable[Finding], level: Level) -> int:
    """How many there are of a level."""
    return sum(each.level == level for each in findings)


def check_health(findings: Iterable[Finding]) -> None:
    """See that there is no problem.

    Raises:
        Unhealthy: There are some; it says of what.
    """
    if problems := [each.check for each in findings if each.level == "problem"]:
        number = f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'}"
        raise Unhealthy(f"{number}: {', '.join(dict.fromkeys(problems))}")


def as_json(app: str, server: str, findings: Iterable[Finding]) -> str:
    """All of it, for programs."""
    found = list(findings)
    head = {"app": app, "server": server, "problems": count(found, "problem"), "warnings": count(found, "warning")}
    return orjson.dumps({**head, "findings": [asdict(each) for each in found]}, option=orjson.OPT_INDENT_2).decode()
