"""All policies on one trace: their figures as they are, and the frontier that their caution sweeps.

Used by `ramshare policy compare`. A policy's caution multiplies its margin or reserve, so that every policy, not only
its usual setting, can be compared: the better one lends more at the same harm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ramshare.policy.registry import make_policy
from ramshare_lab.policies.score import WARMUP_S, Score, score
from ramshare_lab.policies.trace import HostTrace, replay

CAUTIONS = (0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.0)
"""From reckless to timid; 1 is how the policy runs in a lender."""


@dataclass(frozen=True)
class Point:
    """One policy at one caution, judged."""

    policy: str
    caution: float
    score: Score


def compare(
    hosts: list[HostTrace],
    policies: Sequence[str],
    *,
    cautions: Sequence[float] = (1.0,),
    warmup_s: float = WARMUP_S,
    done: Callable[[str, float], None] = lambda policy, caution: None,
) -> list[Point]:
    """Judge every policy at every caution; `done` is told after each.

    Policies look at a host's sums only, so guests are summed up first, unless one of them lies: a lie must reach the
    policy as it was told.
    """
    summed = all(trace.honest for trace in hosts)
    points = []
    for name in policies:
        for caution in cautions:
            lent_bytes = replay(hosts, make_policy(name, caution), summed=summed)
            points.append(Point(name, caution, score(hosts, lent_bytes, warmup_s)))
            done(name, caution)
    return points
