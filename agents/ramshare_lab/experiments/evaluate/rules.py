"""The ways of lending that are compared, each a surplus policy and a choice of lenders. Pure.

- `ramshare`: the shipped policy and the shipped placement (`manager/placement.py`).
- `infiniswap`: free memory above a head room, in slabs of 1 GiB, each on the freer one of two hosts drawn at random
  (Gu et al., NSDI 2017, sections 4.2 and 4.3; its figures for a host of 64 GB are taken as shares of memory).
- `memtrade`: the smaller one of what is free and its moving average, in slabs of 64 MB (Maruf et al., SIGMETRICS 2023,
  section 5). Its market is left out: whoever has most lends first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ramshare.manager.placement import Candidate, Need, lendable_bytes, place
from ramshare.policy.model import Policy
from ramshare.policy.registry import make_policy

MIB, GIB = 1 << 20, 1 << 30
EXTENT_BYTES = 4 * MIB
"""LVM's default, the grain of a lease."""
SLAB_BYTES = {"infiniswap": GIB, "memtrade": 64 * MIB}


class Choose(Protocol):
    """Picks who lends `need_bytes`, given what each may lend; less than asked where there is less."""

    def __call__(self, need_bytes: float, free_bytes: Mapping[str, float]) -> dict[str, float]:
        """Return lender to bytes."""
        ...


@dataclass(frozen=True)
class Rule:
    """One way of lending."""

    name: str
    policy: Callable[[], Policy]
    choose: Choose


def rules(random: np.random.Generator) -> list[Rule]:
    """Return every way of lending; `random` is drawn from by those that draw lots."""
    return [
        Rule("ramshare", make_policy, most_free),
        Rule("infiniswap", lambda: make_policy("infiniswap"), two_choices(random, SLAB_BYTES["infiniswap"])),
        Rule("memtrade", lambda: make_policy("memtrade"), slabs_of_the_freest(SLAB_BYTES["memtrade"])),
    ]


def most_free(need_bytes: float, free_bytes: Mapping[str, float]) -> dict[str, float]:
    """Place as the manager does; if the cluster has less, all that it has (`borrow --at-most`)."""
    candidates = [Candidate(host, int(free)) for host, free in free_bytes.items() if free >= EXTENT_BYTES]
    need = Need(max(1, int(need_bytes)), EXTENT_BYTES)
    found = place(need, candidates)
    if not found.shares and (able := lendable_bytes(need, candidates)):
        found = place(Need(able, EXTENT_BYTES), candidates)
    return {share.lender: float(share.size_bytes) for share in found.shares}


def two_choices(random: np.random.Generator, slab_bytes: int) -> Choose:
    """Return a choice that puts each slab on the freer one of two hosts drawn at random."""

    def choose(need_bytes: float, free_bytes: Mapping[str, float]) -> dict[str, float]:
        free = {host: slabs for host, room in free_bytes.items() if (slabs := int(room // slab_bytes))}
        chosen: dict[str, float] = {}
        for _ in range(-int(-need_bytes // slab_bytes)):
            if not free:
                break
            names = list(free)
            drawn = {names[int(random.integers(len(names)))] for _ in range(2)}
            host = max(sorted(drawn), key=lambda name: free[name])
            chosen[host] = chosen.get(host, 0.0) + slab_bytes
            free[host] -= 1
            if not free[host]:
                del free[host]
        return chosen

    return choose


def slabs_of_the_freest(slab_bytes: int) -> Choose:
    """Return a choice that fills the host with most free slabs first."""

    def choose(need_bytes: float, free_bytes: Mapping[str, float]) -> dict[str, float]:
        wanted = -int(-need_bytes // slab_bytes)
        chosen: dict[str, float] = {}
        for host, room in sorted(free_bytes.items(), key=lambda item: (-item[1], item[0])):
            taken = min(wanted, int(room // slab_bytes))
            if taken <= 0:
                break
            chosen[host] = float(taken * slab_bytes)
            wanted -= taken
        return chosen

    return choose
