"""What every policy shares: one intake per host, alarms, bounds, the sentence, snapshots.

A policy is a subclass that says what it would lend (`_target`), given everything believable so far. All else (what
cannot be believed, pressure, clocks, bounds) is the same for all, so that comparing policies compares rules.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from ramshare.policy.intake import HostIntake, View
from ramshare.policy.model import Decision, HostSample

SNAPSHOT_VERSION = 3
SHOWN_NOTES = 3
"""Remarks about guests that one sentence carries; the rest is counted."""

_GIB = 2.0**30


class HostState(Protocol):
    """What a policy remembers of one host. Bounded."""

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""
        ...


S = TypeVar("S", bound=HostState)


@dataclass(slots=True)
class Target:
    """What a policy would lend: bytes, the words for the sentence, and the numbers behind them."""

    lend_bytes: float
    why: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Host(Generic[S]):
    intake: HostIntake
    state: S
    lent_bytes: float = 0.0


class StreamPolicy(ABC, Generic[S]):
    """A policy that keeps one bounded state per host. Implements `model.Policy`."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._hosts: dict[str, _Host[S]] = {}

    @abstractmethod
    def _new_state(self) -> S:
        """Return the state of a host never seen."""

    @abstractmethod
    def _load_state(self, data: Mapping[str, Any]) -> S:
        """Build from a snapshot. Raises `TypeError`, `KeyError` or `ValueError` for one that does not fit."""

    @abstractmethod
    def _target(self, state: S, view: View, lent_bytes: float) -> Target:
        """Return what to lend. Called with fresh views only; `lent_bytes` is the last decision."""

    def decide(self, sample: HostSample) -> Decision:
        """Decide from this sample and the ones before it."""
        host = self._hosts.get(sample.host)
        if host is None:
            host = self._hosts[sample.host] = _Host(HostIntake(), self._new_state())
        view = host.intake.read(sample)
        if view.fresh:
            target = self._target(host.state, view, host.lent_bytes)
        else:
            target = Target(host.lent_bytes, "a sample that is not newer than the last one lets nothing grow")
        lend_bytes = min(target.lend_bytes, view.free_bytes)
        if view.host_alarm:
            lend_bytes = 0.0
        elif not view.calm:
            lend_bytes = min(lend_bytes, host.lent_bytes)
        elif view.uneasy_bytes:
            lend_bytes = min(lend_bytes, max(host.lent_bytes, view.free_bytes - view.uneasy_bytes))
        host.lent_bytes = float(int(lend_bytes)) if lend_bytes > 0 else 0.0
        return _decision(host.lent_bytes, view, target)

    def forget(self, host: str) -> None:
        """Drop all that is known of a host."""
        self._hosts.pop(host, None)

    def snapshot(self) -> dict[str, Any]:
        """Return everything learnt so far as JSON-able data."""
        hosts = {
            name: {"intake": host.intake.snapshot(), "state": host.state.snapshot(), "lent_bytes": host.lent_bytes}
            for name, host in self._hosts.items()
        }
        return {"policy": self.name, "version": SNAPSHOT_VERSION, "hosts": hosts}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a snapshot; one that does not fit is dropped."""
        self._hosts = {}
        try:
            if state["policy"] == self.name and state["version"] == SNAPSHOT_VERSION:
                self._hosts = {str(name): self._load_host(data) for name, data in state["hosts"].items()}
        except (AttributeError, KeyError, TypeError, ValueError, IndexError):
            self._hosts = {}

    def _load_host(self, data: Mapping[str, Any]) -> _Host[S]:
        state = self._load_state(data["state"])
        return _Host(HostIntake.restored(data["intake"]), state, float(data["lent_bytes"]))


def _decision(lent_bytes: float, view: View, target: Target) -> Decision:
    sentence = f"{lent_bytes / _GIB:.2f} of {view.capacity_bytes / _GIB:.2f} GiB can be lent: {target.why}"
    notes = view.notes[:SHOWN_NOTES]
    if len(view.notes) > SHOWN_NOTES:
        notes.append(f"{len(view.notes) - SHOWN_NOTES} more such remarks")
    figures = {
        "capacity_bytes": view.capacity_bytes,
        "demand_bytes": view.demand_bytes,
        "held_bytes": view.held_bytes,
        **target.figures,
    }
    return Decision(int(lent_bytes), "; ".join([sentence, *notes]), figures)
