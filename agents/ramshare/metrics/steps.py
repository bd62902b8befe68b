"""A borrower's machine whose steps are timed; what there is nothing to do for is no step."""

import re
import time
from collections.abc import Callable
from dataclasses import replace

from ramshare.borrower.machine.api import Looked, Machine
from ramshare.borrower.plan.steps import NoStep, Step
from ramshare.borrower.plan.view import Heard

Told = Callable[[str, str, float], None]
"""Name of the step, outcome, seconds."""


def timed(machine: Machine, told: Told, clock: Callable[[], float] = time.monotonic) -> Machine:
    """Return the machine with every step told, on the worker thread."""

    def turn(volume: str, heard: Heard) -> Looked:
        since_s = clock()
        looked = machine.turn(volume, heard)
        if not isinstance(looked.step, NoStep):
            told(step_name(looked.step), "failed" if looked.error else "ok", clock() - since_s)
        return looked

    return replace(machine, turn=turn)


def step_name(step: Step) -> str:
    """Return a step's kind as a label: `start_mirror`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(step).__name__).lower()
