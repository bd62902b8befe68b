"""What goes into a surplus policy and what comes out.

Written against by the lender's agent, the replay and every policy. Sizes are bytes, times are seconds since the epoch.
Nothing here trusts a figure: a guest may lie, and `intake` deals with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class GuestSample:
    """One report of one guest.

    `psi_some` is the kernel's `some avg10` of `/proc/pressure/memory` in percent; `None` where the kernel has none.
    `capacity_bytes` is what the guest would have with its balloon empty (from the hypervisor where there is one, as a
    guest may claim anything), `used_bytes` what it needs now. `at_s` is on the host's clock: when the report arrived,
    unless the guest's clock is known to be right.
    """

    guest: str
    at_s: float
    capacity_bytes: float
    used_bytes: float
    swap_in_bytes_s: float = 0.0
    psi_some: float | None = None
    refault_pages_s: float | None = None


@dataclass(frozen=True, slots=True)
class HostSample:
    """The host's own memory and the newest report of each of its guests, as known at `at_s`.

    `capacity_bytes` and `used_bytes` cover the host's *own* part only: memory given to no guest, and how much of it the
    host itself uses. What the host lends already (its exports' RAM files) must not be counted as used, or every loan
    would shrink the offer twice. `guests` may hold reports of any age. `expected_guests` are the guests that run here
    now: one without a fresh report counts as fully used, and a report of any other guest is ignored. An empty set means
    whoever reports.
    """

    host: str
    at_s: float
    capacity_bytes: float
    used_bytes: float
    guests: tuple[GuestSample, ...] = ()
    expected_guests: frozenset[str] = frozenset()
    swap_in_bytes_s: float = 0.0
    psi_some: float | None = None
    refault_pages_s: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """How much may be lent until the next sample, and why.

    `lendable_bytes` includes what is lent already: the lender offers the difference, or reclaims it. `reason` is one
    sentence for people; `figures` are the numbers behind it, named with their units.
    """

    lendable_bytes: int
    reason: str
    figures: dict[str, float] = field(default_factory=dict)


class Policy(Protocol):
    """A surplus policy: streaming, deterministic, no I/O, no clock of its own; state bounded per host and guest."""

    @property
    def name(self) -> str:
        """The name people choose it by."""
        ...

    def decide(self, sample: HostSample) -> Decision:
        """Decide from this sample and the ones before it. Never raises for what a sample says."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Everything learnt so far as JSON-able data, for a lender that restarts."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a snapshot. One that does not fit (other policy, other version, damaged) is dropped: start afresh."""
        ...
