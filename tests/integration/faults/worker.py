"""A worker as a process: `python -m tests.integration.faults.worker PLAN`, with the plan as JSON."""

import json
import logging
import sys

from runnel.errors import HandlerFailed
from runnel.roles import heart
from runnel.worker import Worker
from tests.guards import take_out
from tests.integration.faults.crashes import crasher, patch_events, patch_release
from tests.integration.faults.shop import Plan, declare

_STANDARD = set(vars(logging.makeLogRecord({})))


class _Fields(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        return f"{super().format(record)} {json.dumps(extra, default=str)}"


def log_to_stderr(level: str) -> None:
    """Log from this level on, with all fields."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Fields("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("asyncio").setLevel("WARNING")


def main() -> None:
    plan = Plan.from_json(sys.argv[1])
    log_to_stderr("DEBUG")
    crash = crasher(plan.crash, plan.nth, plan.signal)
    heart.PATIENCE = plan.patience
    if plan.without:
        take_out(plan.without)
    if plan.fail_points:
        patch_events(crash)
    if "release" in plan.crash:
        patch_release(crash)
    try:
        Worker(declare(plan, crash)).start()
    except HandlerFailed as error:
        logging.getLogger(__name__).error("halted: %s", error)
        sys.exit(3)


if __name__ == "__main__":
    main()
