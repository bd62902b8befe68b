"""Turns what a host and its guests claim into figures a policy may trust.

Every policy reads samples through a `HostIntake`. The rules, each of which can only lower what is lent:

- A guest whose report is missing, stale, from the future or impossible (negative, not a number, more used than there
  is) counts as using all it has; what it has is its last believable capacity.
- A guest that appears twice counts once: the newest report, and of two equally new ones the more demanding.
- A guest, or the host, under memory pressure counts as using all it has, whatever its history says. Under mild pressure
  what it does not use lets nothing more be lent.
- A sample that is not newer than the last one teaches nothing and lets nothing grow (`View.fresh` is false).
- Windows run on observed time (`View.clock_s`), which no jump of the clock moves: a gap, or a clock set forward, counts
  as an hour at most, and a clock set back as nothing. So no jump makes a policy forget what it saw.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ramshare.policy.model import GuestSample, HostSample

STALE_AFTER_S = 30.0
"""A report this old is not believed: six intervals of the monitor (5 s)."""

AHEAD_S = 30.0
"""A report this far in the future has a clock that cannot be used to judge its age."""

MAX_BYTES = 2.0**60
"""No guest has an exbibyte; who claims more is wrong."""

LATE_S = 60.0
"""A sample older than the last one by more than this is no late arrival: the clock was set back, and is followed."""

MAX_STEP_S = 3600.0
"""How much observed time may pass between two samples."""

CALM_PSI = 0.1
"""Percent of time stalled above which nothing grows: oomd's and senpai's idea of "no pressure"."""
ALARM_PSI = 5.0
"""Percent of time stalled above which the guest counts as full: a third of the usual trigger's 15 %, to act first."""

CALM_SWAP_IN_BYTES_S = 4096.0
"""More than a page per second swapped in: nothing grows."""
ALARM_SWAP_IN_BYTES_S = 2.0**20
"""256 pages per second: a disk of 120 operations per second is saturated, the guest crawls."""

CALM_REFAULT_PAGES_S = 16.0
"""Recently evicted file pages read again: a few are normal at any time."""
ALARM_REFAULT_PAGES_S = 1024.0
"""4 MiB/s read again that was in memory a moment ago: the page cache in use does not fit."""


@dataclass(slots=True)
class View:
    """One moment of a host as a policy may believe it.

    `demand_bytes` is what is used, with guests that cannot be believed at their last believable figure; `held_bytes` is
    the rest of what those guests have, which must not be lent now; `uneasy_bytes` is what guests under mild pressure do
    not use: it lets nothing more be lent. `calm` is false while the host's own pressure forbids all growth; a guest
    that says it is pressed, rightly or not, holds its own share and nobody else's.
    `at_s` is the wall clock, `clock_s` observed time, `step_s` how much of it passed since the last fresh view.
    """

    at_s: float
    clock_s: float
    step_s: float
    capacity_bytes: float
    demand_bytes: float
    held_bytes: float = 0.0
    uneasy_bytes: float = 0.0
    fresh: bool = True
    calm: bool = True
    host_alarm: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def free_bytes(self) -> float:
        """What nobody uses now, as far as that can be believed."""
        return self.capacity_bytes - self.demand_bytes - self.held_bytes


@dataclass(slots=True)
class _Known:
    """The last believable capacity and use of a guest, bytes."""

    capacity_bytes: float
    used_bytes: float


class HostIntake:
    """What one host's samples have said so far: the time, and each present guest's last believable report."""

    def __init__(self) -> None:
        self.last_s = -math.inf
        self.clock_s = 0.0
        self._known: dict[str, _Known] = {}

    def read(self, sample: HostSample) -> View:
        """Return what of `sample` can be believed. Remembers only guests that are present or expected."""
        view = self._moment(sample.at_s)
        reports = _newest(sample.guests, view.notes)
        present = sample.expected_guests or frozenset(reports)
        self._known = {guest: known for guest, known in self._known.items() if guest in present}
        self._read_host(sample, view)
        for guest in sorted(present):
            self._read_guest(guest, reports.get(guest), view)
        return view

    def _moment(self, at_s: float) -> View:
        """Return an empty view of this moment and set the clocks."""
        fresh = math.isfinite(at_s) and (at_s > self.last_s or at_s < self.last_s - LATE_S)
        passed_s = at_s - self.last_s
        step_s = min(max(passed_s, 0.0), MAX_STEP_S) if fresh and math.isfinite(passed_s) else 0.0
        if fresh:
            self.last_s = at_s
            self.clock_s += step_s
        return View(at_s if math.isfinite(at_s) else self.last_s, self.clock_s, step_s, 0.0, 0.0, fresh=fresh)

    def _read_host(self, sample: HostSample, view: View) -> None:
        if _is_size(sample.capacity_bytes):
            used = sample.used_bytes
            if not _is_size(used) or used > sample.capacity_bytes:
                view.notes.append("the host's own report is impossible and counts as full")
                used = sample.capacity_bytes
            view.capacity_bytes += sample.capacity_bytes
            view.demand_bytes += used
        else:
            view.notes.append("the host's own capacity is impossible and counts as nothing")
        pressure = _pressure(sample.psi_some, sample.swap_in_bytes_s, sample.refault_pages_s)
        if pressure:
            view.calm = False
            view.notes.append(f"the host is {pressure.words}")
            view.host_alarm = pressure.alarm

    def _read_guest(self, guest: str, report: GuestSample | None, view: View) -> None:
        why_not = doubt(report, view.at_s)
        known = self._known.get(guest)
        if report is not None and not why_not:
            known = self._known[guest] = _Known(report.capacity_bytes, report.used_bytes)
        if known is None:
            known = (
                _Known(report.capacity_bytes, 0.0) if report and _is_size(report.capacity_bytes) else _Known(0.0, 0.0)
            )
        view.capacity_bytes += known.capacity_bytes
        view.demand_bytes += known.used_bytes
        spare_bytes = known.capacity_bytes - known.used_bytes
        if why_not:
            view.held_bytes += spare_bytes
            view.notes.append(f"guest {guest} {why_not} and counts as full")
        elif report is not None and (
            pressure := _pressure(report.psi_some, report.swap_in_bytes_s, report.refault_pages_s)
        ):
            if pressure.alarm:
                view.held_bytes += spare_bytes
            else:
                view.uneasy_bytes += spare_bytes
            view.notes.append(f"guest {guest} is {pressure.words}")

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""
        guests = {guest: [known.capacity_bytes, known.used_bytes] for guest, known in self._known.items()}
        last_s = self.last_s if math.isfinite(self.last_s) else None
        return {"last_s": last_s, "clock_s": self.clock_s, "guests": guests}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "HostIntake":
        """Build from a snapshot. Raises `TypeError`, `KeyError` or `ValueError` for one that does not fit."""
        intake = cls()
        intake.last_s = -math.inf if state["last_s"] is None else float(state["last_s"])
        intake.clock_s = float(state["clock_s"])
        intake._known = {str(g): _Known(float(c), float(u)) for g, (c, u) in state["guests"].items()}
        return intake


@dataclass(frozen=True, slots=True)
class _Pressure:
    words: str
    alarm: bool


def _pressure(psi: float | None, swap_in_bytes_s: float, refault_pages_s: float | None) -> _Pressure | None:
    """Return the worst sign of pressure, or `None` in calm. A rate that is not a number counts as none.

    Mild pressure is told without its figure, which differs in every sample: an unchanged offer must not be news.
    """
    signs = (
        (psi, CALM_PSI, ALARM_PSI, "stalled on memory", " {:.0f} % of the time"),
        (swap_in_bytes_s, CALM_SWAP_IN_BYTES_S, ALARM_SWAP_IN_BYTES_S, "swapping in", " {:.0f} bytes/s"),
        (
            refault_pages_s,
            CALM_REFAULT_PAGES_S,
            ALARM_REFAULT_PAGES_S,
            "reading back evicted pages",
            ", {:.0f} a second",
        ),
    )
    mild = None
    for value, calm, alarm, words, figure in signs:
        if value is None or not value > calm:
            continue
        if value > alarm:
            return _Pressure(words + figure.format(value), alarm=True)
        mild = mild or _Pressure(f"{words} a little", alarm=False)
    return mild


def _is_size(value: float) -> bool:
    return 0 <= value <= MAX_BYTES


def doubt(report: GuestSample | None, now_s: float) -> str:
    """Return why a report cannot be believed at `now_s`, or nothing."""
    if report is None:
        return "does not report"
    if not math.isfinite(report.at_s) or report.at_s > now_s + AHEAD_S:
        return "has a clock ahead of the host's"
    if now_s - report.at_s > STALE_AFTER_S:
        return f"has not reported for more than {STALE_AFTER_S:.0f} s"
    if not _is_size(report.capacity_bytes) or not _is_size(report.used_bytes):
        return "reports impossible sizes"
    if report.used_bytes > report.capacity_bytes:
        return "claims to use more than it has"
    return ""


def _newest(guests: Iterable[GuestSample], notes: list[str]) -> dict[str, GuestSample]:
    """Return one report per guest: the newest, and of equally new ones the one that uses most."""
    chosen: dict[str, GuestSample] = {}
    for report in guests:
        other = chosen.get(report.guest)
        if other is None:
            chosen[report.guest] = report
            continue
        notes.append(f"guest {report.guest} appears twice")
        if not (report.at_s, report.used_bytes) <= (other.at_s, other.used_bytes):
            chosen[report.guest] = report
    return chosen
