"""What every policy shares: one intake per host, alarms, bounds, the sentence, snapshots.

A policy is a subclass that says how much a host will need (`_need`), given everything believable so far. All else
(what cannot be believed, pressure, clocks, bounds) is the same for all, so that comparing policies compares rules.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from ramshare.lender.policy.intake import HostIntake, View
from ramshare.lender.policy.model import Decision, HostSample

SNAPSHOT_VERSION = 1

_GIB = 2.0**30


@dataclass(slots=True)
class Need:
    """What a policy wants left to the host: bytes, the words for the sentence, and the numbers behind them."""

    need_bytes: float
    why: str
    figures: dict[str, float] = field(default_factory=dict)


class HostState(ABC):
    """What a policy remembers of one host. Bounded, JSON-able."""

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""

    @classmethod
    @abstractmethod
    def restored(cls, state: Mapping[str, Any]) -> "HostState":
        """Build from a snapshot. Raises `TypeError`, `KeyError` or `ValueError` for one that does not fit."""


S = TypeVar("S", bound=HostState)


@dataclass(slots=True)
class _Host(Generic[S]):
    intake: HostIntake
    state: S
    lent_bytes: float = 0.0


class StreamPolicy(ABC, Generic[S]):
    """A policy that keeps one bounded state per host. Implements `model.Policy`."""

    name: ClassVar[str]
    state_type: type[S]

    def __init__(self) -> None:
        self._hosts: dict[str, _Host[S]] = {}

    @abstractmethod
    def _need(self, state: S, view: View, lent_bytes: float) -> Need:
        """Return what must be left to the host. Called only with fresh views; `lent_bytes` is the last decision."""

    def decide(self, sample: HostSample) -> Decision:
        """Decide from this sample and the ones before it."""
        host = self._hosts.get(sample.host)
        if host is None:
            host = self._hosts[sample.host] = _Host(HostIntake(), self.state_type())
        view = host.intake.read(sample)
        if view.fresh:
            need = self._need(host.state, view, host.lent_bytes)
            lendable_bytes = view.capacity_bytes - view.held_bytes - need.need_bytes
        else:
            need = Need(view.demand_bytes, "the sample is not newer than the last one, so nothing grows")
            lendable_bytes = min(host.lent_bytes, view.capacity_bytes - view.held_bytes - view.demand_bytes)
        if view.host_alarm:
            lendable_bytes = 0.0
        elif not view.calm:
            lendable_bytes = min(lendable_bytes, host.lent_bytes)
        host.lent_bytes = max(0.0, float(int(lendable_bytes)))
        return _decision(host.lent_bytes, view, need)

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
        if state.get("policy") != self.name or state.get("version") != SNAPSHOT_VERSION:
            return
        try:
            self._hosts = {
                str(name): _Host(
                    HostIntake.restored(host["intake"]),
                    self.state_type.restored(host["state"]),  # type: ignore[arg-type]
                    float(host["lent_bytes"]),
                )
                for name, host in state["hosts"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError, IndexError):
            self._hosts = {}


def _decision(lent_bytes: float, view: View, need: Need) -> Decision:
    sentence = f"{lent_bytes / _GIB:.2f} of {view.capacity_bytes / _GIB:.2f} GiB can be lent: {need.why}"
    figures = {
        "capacity_bytes": view.capacity_bytes,
        "demand_bytes": view.demand_bytes,
        "held_bytes": view.held_bytes,
        "need_bytes": need.need_bytes,
        **need.figures,
    }
    return Decision(int(lent_bytes), "; ".join([sentence, *view.notes[:3]]) + ".", figures)
