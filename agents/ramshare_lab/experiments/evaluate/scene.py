"""The cluster that is played: hosts, their memory, and what their guests demand at every step. Pure.

A recorded trace has a dozen hosts and days or months. Each simulated host is one recorded host during one stretch of
time, drawn with a seed; the stretch before it is shown to its policy first. A trace says what guests use, not what
their host has, and recorded hosts differ in size: all simulated hosts have the same memory, each is loaded by a factor
of its own (log-normal, so that some run short and others idle), and all loads are scaled together until a given part of
the cluster's memory is in use when nothing is lent. By default that is what Infiniswap found before it lent: 40.8 %
(Gu et al., NSDI 2017, section 6).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ramshare.errors import ExitCode, RamshareError
from ramshare_lab.policies.trace import HostTrace

Floats = NDArray[np.float64]
IN_USE = 0.408
SPREAD = 0.6
"""Standard deviation of the logarithm of a host's load: two thirds of the hosts lie within a factor of 1.8."""
MEMORY_BYTES = 64.0 * (1 << 30)
"""Of every host; Infiniswap's had as much."""
HOUR_S = 3600.0


class SceneError(RamshareError):
    """A trace that is too short for what is asked."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Host:
    """One simulated host. Rows of `guests_bytes` are guests, columns are steps, those of the warm-up first."""

    name: str
    memory_bytes: float
    guests_bytes: Floats

    @property
    def demand_bytes(self) -> Floats:
        """What all its guests want, step by step."""
        return np.asarray(self.guests_bytes.sum(axis=0))


@dataclass(frozen=True)
class Scene:
    """A cluster and a stretch of time."""

    hosts: tuple[Host, ...]
    step_s: float
    warmup_steps: int
    steps: int
    """After the warm-up."""


def make_scene(
    traces: list[HostTrace],
    *,
    hosts: int,
    hours: float,
    warmup_hours: float,
    seed: int,
    in_use: float = IN_USE,
) -> Scene:
    """Draw a cluster of so many hosts. Raises `SceneError` if no recorded host is long enough, or all are idle."""
    step_s = float(np.median(np.concatenate([np.diff(trace.at_s) for trace in traces if len(trace.at_s) > 1])))
    warmup, steps = round(warmup_hours * HOUR_S / step_s), round(hours * HOUR_S / step_s)
    tables = [table for trace in traces if (table := _table(trace, step_s)).shape[1] >= warmup + steps]
    if not tables:
        longest = max(float(trace.at_s[-1] - trace.at_s[0]) for trace in traces) / HOUR_S
        raise SceneError(
            f"no recorded host is {warmup_hours + hours:g} h long; the longest is {longest:.1f} h",
            "ask for fewer --hours, or fewer --warmup-h",
        )
    random = np.random.default_rng(seed)
    drawn: list[Floats] = []
    for _ in range(hosts):
        table = tables[int(random.integers(len(tables)))]
        start = int(random.integers(table.shape[1] - warmup - steps + 1))
        guests = table[:, start : start + warmup + steps]
        load = float(random.lognormal(0.0, SPREAD))
        drawn.append(guests * (load / max(1.0, float(guests.sum(axis=0).mean()))))
    scale = _scale([guests.sum(axis=0)[warmup:] for guests in drawn], in_use)
    made = (Host(f"host{n:05d}", MEMORY_BYTES, guests * (scale * MEMORY_BYTES)) for n, guests in enumerate(drawn))
    return Scene(tuple(made), step_s, warmup, steps)


def _scale(loads: list[Floats], in_use: float) -> float:
    """Return by what all loads are multiplied so that hosts of memory 1 use `in_use` of it, by bisection."""
    every = np.array(loads)
    low, high = 0.0, 1e6
    if float(np.minimum(every * high, 1.0).mean()) < in_use:
        raise SceneError(f"the recorded hosts are idle: no load makes {in_use:.0%} of memory in use", "lower --in-use")
    for _ in range(60):
        middle = (low + high) / 2
        if float(np.minimum(every * middle, 1.0).mean()) < in_use:
            low = middle
        else:
            high = middle
    return high


def _table(trace: HostTrace, step_s: float) -> Floats:
    """Return what each guest used at every step of an even clock; between two reports the earlier one counts."""
    names = sorted(set(trace.guests))
    rows = {name: number for number, name in enumerate(names)}
    seen = np.zeros((len(names), len(trace.at_s)))
    columns = np.repeat(np.arange(len(trace.at_s)), np.diff(trace.starts))
    seen[[rows[guest] for guest in trace.guests], columns] = trace.guest_used_bytes
    clock = np.arange(trace.at_s[0], trace.at_s[-1] + 1, step_s)
    return seen[:, np.searchsorted(trace.at_s, clock, side="right") - 1]
