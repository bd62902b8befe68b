"""Made-up traces of shapes that the recorded one does not have: seeded, small, one function a shape.

Used by `test_policy_shapes`. Each returns hosts as the replay reads them, at five-minute steps.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ramshare_lab.policies.trace import HostTrace

Floats = NDArray[np.float64]
STEP_S = 300
DAY = 86400 // STEP_S
START_S = 1_699_833_600
"""A Monday, 00:00 UTC."""
GIB = float(1 << 30)


def _host(name: str, guests: list[tuple[int, float, Floats]], steps: int) -> HostTrace:
    """Build one host from guests: first step, capacity, and use at every step while there."""
    at = np.concatenate([np.arange(first, first + len(used)) for first, _, used in guests])
    names = [f"g{number}" for number, (_, _, used) in enumerate(guests) for _ in used]
    capacity = np.concatenate([np.full(len(used), size) for _, size, used in guests])
    used = np.concatenate([np.clip(used, 0.0, size) for _, size, used in guests])
    order = np.argsort(at, kind="stable")
    starts = np.searchsorted(at[order], np.arange(steps + 1))
    at_s = START_S + STEP_S * np.arange(steps, dtype=np.int64)
    return HostTrace(name, at_s, starts, [names[row] for row in order], capacity[order], used[order])


def _noise(chance: np.random.Generator, steps: int, size: float) -> Floats:
    return chance.normal(0.0, size, steps)


def containers(chance: np.random.Generator, steps: int) -> list[tuple[int, float, Floats]]:
    """A few services that stay, many jobs of minutes to hours, now and then a dozen at once."""
    guests = [(0, 2 * GIB, GIB * (0.8 + _noise(chance, steps, 0.05))) for _ in range(20)]
    for first in range(1, steps - 1):
        jobs = chance.poisson(0.7) + (12 if chance.random() < 0.002 else 0)
        for _ in range(jobs):
            length = int(min(1 + chance.lognormal(1.2, 1.0), steps - first))
            guests.append((first, GIB, np.full(length, GIB * chance.uniform(0.2, 0.95))))
    return guests


def nearly_full(chance: np.random.Generator, steps: int) -> list[tuple[int, float, Floats]]:
    """One large guest that uses about 85 % of its memory, with small surges."""
    drift = np.cumsum(_noise(chance, steps, 0.0005))
    surges = np.convolve((chance.random(steps) < 0.003) * chance.exponential(0.03, steps), np.ones(9))[:steps]
    return [(0, 256 * GIB, 256 * GIB * np.minimum(0.85 + drift + _noise(chance, steps, 0.003) + surges, 0.995))]


def come_and_go(chance: np.random.Generator, steps: int) -> list[tuple[int, float, Floats]]:
    """Large guests that arrive, start up over a quarter of an hour, and leave after days."""
    guests = [(0, 64 * GIB, 64 * GIB * (0.3 + _noise(chance, steps, 0.01)))]
    for first in chance.integers(1, steps - DAY, 8).tolist():
        length = min(DAY + int(chance.exponential(2 * DAY)), steps - first)
        starting = np.minimum(np.arange(length) / 3, 1.0)
        guests.append(
            (first, 16 * GIB, 16 * GIB * starting * (chance.uniform(0.2, 0.7) + _noise(chance, length, 0.02)))
        )
    return guests


def weekly(chance: np.random.Generator, steps: int) -> list[tuple[int, float, Floats]]:
    """Busy on weekdays from eight to six, idle at night and at the weekend."""
    hour, day = np.arange(steps) / 12 % 24, np.arange(steps) // DAY % 7
    busy = (1 / (1 + np.exp(-6 * (hour - 8.5)))) / (1 + np.exp(4 * (hour - 18))) * (day < 5)
    return [(0, 128 * GIB, 128 * GIB * (0.15 + 0.35 * busy + _noise(chance, steps, 0.008)))]


def regimes(chance: np.random.Generator, steps: int) -> list[tuple[int, float, Floats]]:
    """Days of calm, then days of surges at another level, and so on."""
    used = np.empty(0)
    while len(used) < steps:
        length = DAY + int(chance.exponential(3 * DAY))
        often, size = chance.choice([0.0, 0.003, 0.02]), chance.uniform(0.02, 0.15)
        surges = np.convolve((chance.random(length) < often) * chance.exponential(size, length), np.ones(5))[:length]
        used = np.append(used, chance.uniform(0.05, 0.5) + _noise(chance, length, 0.005) + surges)
    return [(0, 128 * GIB, 128 * GIB * used[:steps])]


SHAPES: dict[str, Callable[[np.random.Generator, int], list[tuple[int, float, Floats]]]] = {
    shape.__name__: shape for shape in (containers, nearly_full, come_and_go, weekly, regimes)
}


def hosts_of(shape: str, hosts: int = 3, days: int = 14, seed: int = 1) -> list[HostTrace]:
    """Return some hosts of a shape, the same every time."""
    steps = days * DAY
    return [_host(f"h{n}", SHAPES[shape](np.random.default_rng([seed, n]), steps), steps) for n in range(hosts)]
