"""Runs the borrower's plan on a model of its host to its end. For the tests of every way to attach."""

from typing import Protocol

from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.view import VolumeView


class ModelHost(Protocol):
    """What a model of a borrower's host has."""

    nothing_to_borrow: bool

    def view(self) -> VolumeView:
        """Return what the borrower would see."""
        ...

    def apply(self, step: s.Step) -> None:
        """Change as the real host would."""
        ...

    def tick(self) -> None:
        """Let time pass."""
        ...


def run_to_end(host: ModelHost, most: int) -> list[s.Step]:
    """Plan, apply and let time pass until the plan is done (or waits for memory that nobody has); return the steps."""
    taken: list[s.Step] = []
    for _ in range(most):
        step = next_step(host.view())
        taken.append(step)
        host.apply(step)
        host.tick()
        if isinstance(step, s.Done):
            return taken
        if isinstance(step, s.AskForMemory) and host.nothing_to_borrow and next_step(host.view()) == step:
            return taken
    raise AssertionError(f"no end after {most} steps: ... {[str(step) for step in taken[-12:]]}")


def kinds(steps: list[s.Step]) -> list[str]:
    """Return the names of the steps, waits left out and repetitions told once."""
    names = [type(step).__name__ for step in steps if not isinstance(step, s.Wait)]
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
