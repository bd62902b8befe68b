"""Plays a scene step by step: demand changes, lenders take back what they need, hosts that run short borrow. Pure.

A host that runs short borrows what its guests want beyond its memory, at once (a step is minutes, the product reacts in
seconds), and gives back what it has not needed for half an hour. It does not lend while it borrows (invariant 5 of the
design). What could not be borrowed is on disk. A lender is harmed in a step whose demand did not fit beside its loans,
before it could take any back.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ramshare.policy.model import HostSample
from ramshare_lab.experiments.evaluate.ledger import Ledger
from ramshare_lab.experiments.evaluate.rules import Rule
from ramshare_lab.experiments.evaluate.scene import Floats, Scene

QUIET_S = 1800.0
"""What was not needed for so long is given back."""


@dataclass(frozen=True)
class Outcome:
    """What one way of lending made of a scene. Shares are of 1."""

    rule: str
    memory_in_use: float
    """Of the whole cluster's, on average."""
    short_bytes: float
    """Average over the steps of what did not fit into its own host..."""
    disk_bytes: float
    """...and of what was in no other host's memory either."""
    loans: int = 0
    revocations: int = 0
    revoked_early: float = 0.0
    """Of the bytes lent."""
    harmed: float = 0.0
    """Share of host-steps in which a lender's demand did not fit beside its loans."""
    lenders: int = 0
    largest_lender: float = 0.0
    """Its share of all bytes lent."""
    migrations: int = 0


class Sums:
    """Adds up, over steps, what every way of lending is judged by."""

    def __init__(self, scene: Scene) -> None:
        self._memory = float(sum(host.memory_bytes for host in scene.hosts))
        self._used = self._short = self._served = 0.0
        self._steps = scene.steps
        self.harmed = 0

    def add(self, used_bytes: float, short_bytes: float, served_bytes: float) -> None:
        """Take in one step: bytes of guests in their own host, those that did not fit, and of these the remote ones."""
        self._used += used_bytes + served_bytes
        self._short += short_bytes
        self._served += served_bytes

    def outcome(self, rule: str, hosts: int, ledger: Ledger | None = None, migrations: int = 0) -> Outcome:
        """Return the figures."""
        tally = (ledger or Ledger()).tally
        return Outcome(
            rule=rule,
            memory_in_use=self._used / self._memory / self._steps,
            short_bytes=self._short / self._steps,
            disk_bytes=(self._short - self._served) / self._steps,
            loans=tally.loans,
            revocations=tally.revoked,
            revoked_early=tally.early_bytes / tally.lent_bytes if tally.lent_bytes else 0.0,
            harmed=self.harmed / (hosts * self._steps),
            lenders=len(tally.by_lender_bytes),
            largest_lender=max(tally.by_lender_bytes.values(), default=0.0) / (tally.lent_bytes or 1.0),
            migrations=migrations,
        )


def play(scene: Scene, rule: Rule, progress: Callable[[], None] = lambda: None) -> Outcome:
    """Return what lending by `rule` makes of a scene."""
    return _Cluster(scene, rule).run(progress)


class _Cluster:
    def __init__(self, scene: Scene, rule: Rule) -> None:
        self._scene, self._rule = scene, rule
        self._policy = rule.policy()
        self._ledger = Ledger()
        self._sums = Sums(scene)
        self._names = [host.name for host in scene.hosts]
        self._memory = np.array([host.memory_bytes for host in scene.hosts])
        self._demand = np.array([host.demand_bytes for host in scene.hosts])
        self._lent = np.zeros(len(scene.hosts))
        quiet = max(1, round(QUIET_S / scene.step_s))
        short = np.clip(self._demand - self._memory[:, None], 0.0, None)
        self._wanted = short.copy()
        for shift in range(1, min(quiet, short.shape[1])):
            self._wanted[:, shift:] = np.maximum(self._wanted[:, shift:], short[:, :-shift])

    def run(self, progress: Callable[[], None]) -> Outcome:
        for step in range(self._scene.warmup_steps):
            self._decide(step)
        for step in range(self._scene.warmup_steps, self._scene.warmup_steps + self._scene.steps):
            self._sums.harmed += int(np.count_nonzero((self._lent > 0) & self._overfull(step)))
            lendable = self._decide(step)
            self._take_back(step, lendable)
            self._borrow(step, lendable)
            self._count(step)
            progress()
        return self._sums.outcome(self._rule.name, len(self._names), self._ledger)

    def _overfull(self, step: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
        return np.asarray(self._demand[:, step] + self._lent > self._memory)

    def _decide(self, step: int) -> Floats:
        """Return what each host may lend; nothing where its own guests do not fit."""
        at_s = step * self._scene.step_s
        used = np.minimum(self._demand[:, step], self._memory)
        lendable = [
            self._policy.decide(HostSample(name, at_s, memory, use)).lendable_bytes
            for name, memory, use in zip(self._names, self._memory.tolist(), used.tolist(), strict=True)
        ]
        return np.where(self._wanted[:, step] > 0, 0.0, np.asarray(lendable, dtype=np.float64))

    def _take_back(self, step: int, lendable: Floats) -> None:
        for number in np.flatnonzero(self._lent > lendable).tolist():
            name = self._names[number]
            self._ledger.revoke(name, float(self._lent[number] - lendable[number]), step * self._scene.step_s)
            self._lent[number] = self._ledger.lent_bytes(name)

    def _borrow(self, step: int, lendable: Floats) -> None:
        """Serve hosts in order of their need, the largest first."""
        wanted = self._wanted[:, step]
        for name, needs in zip(self._names, wanted.tolist(), strict=True):
            if (has := self._ledger.held_bytes(name)) > needs:
                self._ledger.give_back(name, has - needs)
        self._lent = self._lent_now()
        free = {
            self._names[number]: float(lendable[number] - self._lent[number])
            for number in np.flatnonzero(lendable > self._lent).tolist()
        }
        for number in sorted(np.flatnonzero(wanted > 0).tolist(), key=lambda one: (-wanted[one], one)):
            name = self._names[number]
            missing = float(wanted[number]) - self._ledger.held_bytes(name)
            if missing <= 0:
                continue
            for lender, size_bytes in self._rule.choose(missing, free).items():
                self._ledger.lend(lender, name, size_bytes, step * self._scene.step_s)
                free[lender] -= size_bytes
        self._lent = self._lent_now()

    def _lent_now(self) -> Floats:
        return np.array([self._ledger.lent_bytes(name) for name in self._names])

    def _count(self, step: int) -> None:
        short = np.clip(self._demand[:, step] - self._memory, 0.0, None)
        held = np.array([self._ledger.held_bytes(name) for name in self._names])
        self._sums.add(
            float(np.minimum(self._demand[:, step], self._memory).sum()),
            float(short.sum()),
            float(np.minimum(short, held).sum()),
        )
