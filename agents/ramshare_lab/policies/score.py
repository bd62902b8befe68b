"""How good a policy's decisions were, judged by what the trace shows to have happened next.

Used by `ramshare policy compare`. Four figures, over all hosts and all steps after a warm-up that the policy sees
but is not judged by:

- `lent_of_oracle`: bytes lent, of those that perfect knowledge of the next hour could have lent;
- `harm_rate`: share of steps after which the host's next demand did not fit beside what was lent;
- `harm_bytes_rate`: bytes short in those steps, of all bytes demanded;
- `early_rate`: of the bytes by which the loan grew, those taken back within an hour.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ramshare.errors import RamshareError
from ramshare_lab.policies.trace import HostTrace

HOUR_S = 3600
WARMUP_S = 24 * HOUR_S

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """The four figures and the number of judged steps."""

    lent_of_oracle: float
    harm_rate: float
    harm_bytes_rate: float
    early_rate: float
    host_steps: int


@dataclass
class _Sums:
    lent: float = 0.0
    oracle: float = 0.0
    harmed: int = 0
    steps: int = 0
    short: float = 0.0
    demanded: float = 0.0
    grown: float = 0.0
    early: float = 0.0


def score(hosts: list[HostTrace], lent_bytes: dict[str, NDArray[np.int64]], warmup_s: float = WARMUP_S) -> Score:
    """Judge decisions, as `replay` returns them. Raises `RamshareError` if no host is longer than the warm-up."""
    sums = _Sums()
    for trace in hosts:
        _add(sums, trace, lent_bytes[trace.host].astype(np.float64), warmup_s)
    if sums.steps == 0:
        raise RamshareError(f"no host's trace is an hour longer than the warm-up of {warmup_s / HOUR_S:.0f} h")
    return Score(
        lent_of_oracle=sums.lent / sums.oracle if sums.oracle else 0.0,
        harm_rate=sums.harmed / sums.steps,
        harm_bytes_rate=sums.short / sums.demanded if sums.demanded else 0.0,
        early_rate=sums.early / max(sums.grown, 1.0),
        host_steps=sums.steps,
    )


def _add(sums: _Sums, trace: HostTrace, lent: Floats, warmup_s: float) -> None:
    if len(trace.at_s) < 2:
        return
    step_s = float(np.median(np.diff(trace.at_s)))
    ahead = max(1, round(HOUR_S / step_s))
    skip = round(warmup_s / step_s)
    used, capacity, lent = trace.used_bytes[skip:], trace.capacity_bytes[skip:], lent[skip:]
    if len(used) <= ahead + 1:
        return
    short = np.clip(used[1:] + lent[:-1] - capacity[:-1], 0.0, None)
    grown = np.clip(np.diff(lent), 0.0, None)
    taken_back = lent[1:] + _highest_ahead(-lent[1:], ahead)
    sums.lent += float(lent.sum())
    sums.oracle += float((capacity - _highest_ahead(used, ahead)).sum())
    sums.harmed += int(np.count_nonzero(short))
    sums.steps += len(short)
    sums.short += float(short.sum())
    sums.demanded += float(used[1:].sum())
    sums.grown += float(grown.sum())
    sums.early += float(np.minimum(grown, taken_back).sum())


def _highest_ahead(values: Floats, ahead: int) -> Floats:
    """Return for each value the highest of it and the `ahead` values after it, by doubling the span looked at."""
    highest, span = values.copy(), 1
    while span <= ahead:
        shift = min(span, ahead + 1 - span)
        highest[:-shift] = np.maximum(highest[:-shift], highest[shift:])
        span += shift
    return highest
