"""A worker of the bank as a process: `python -m tests.chaos.bank.worker PLAN`, with the plan as JSON."""

import sys

from runnel.worker import Worker
from tests.chaos.bank.app import Plan, declare
from tests.guards import take_out
from tests.integration.faults.crashes import crasher, patch_events
from tests.integration.faults.worker import log_to_stderr


def main() -> None:
    plan = Plan.from_json(sys.argv[1])
    log_to_stderr("DEBUG" if plan.fail_points else "INFO")
    crash = crasher(plan.crash, plan.nth, plan.signal)
    if plan.without:
        take_out(plan.without)
    if plan.fail_points:
        patch_events(crash)
    Worker(declare(plan, crash)).start()


if __name__ == "__main__":
    main()
