"""Choose the lenders of a pair: two sets without a lender in common, each with room for the whole volume. Pure.

The first set lies on committed memory, so that one leg can stay whatever guests need; the second on any. As few lenders
as can be, counted over both sets.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from ramshare.manager.placement import Candidate, Need, Placement, Share, divide, lendable_bytes, mib, place

EXACT_UP_TO = 12
"""Lenders of which every first set is tried (4,096 of them); of more, those with the most room, and one way of all."""

Rooms = Mapping[str, int]


def place_pair(
    first: Need, second: Need, candidates: Sequence[Candidate], holds: Mapping[str, int] | None = None
) -> Placement:
    """Return who lends how much of which leg; a need of no bytes leaves its leg as it is.

    `holds` says which lenders have a part in a leg already: they get none of the other.
    """
    holds = holds or {}
    committed = {c.lender: first.room(c.committed_bytes) for c in candidates if holds.get(c.lender) != 2}
    free = {c.lender: second.room(c.free_bytes) for c in candidates if holds.get(c.lender) != 1}
    found = _best(first, second, committed, free)
    if found is None:
        return Placement((), _shortage(first, second, candidates))
    shares = [*_shares(first, committed, found[0], 1), *_shares(second, free, found[1], 2)]
    told = "; ".join(
        f"leg {leg}: " + ", ".join(f"{s.lender} {mib(s.size_bytes)}" for s in shares if s.leg == leg)
        for leg in (1, 2)
        if any(s.leg == leg for s in shares)
    )
    return Placement(tuple(shares), f"{told}: no lender in both, no fewer can carry it")


def _best(first: Need, second: Need, committed: Rooms, free: Rooms) -> tuple[list[str], list[str]] | None:
    """Return the two sets with the fewest lenders, of these those that leave the most room; None if there are none."""
    best, best_score = None, (0, 0)
    for one in _first_sets(first, second, committed, free):
        other = _fewest(second, {c: room for c, room in free.items() if c not in one})
        if other is None:
            continue
        score = (len(one) + len(other), -sum(committed[c] for c in one) - sum(free[c] for c in other))
        if best is None or score < best_score:
            best, best_score = (one, other), score
    return best


def _first_sets(first: Need, second: Need, committed: Rooms, free: Rooms) -> Iterator[list[str]]:
    """Yield sets that can carry the first leg; the smaller ones first."""
    if not first.grains:
        yield []
        return
    able = sorted((c for c, room in committed.items() if room), key=lambda c: (-committed[c], c))
    tried = able[:EXACT_UP_TO]
    for size in range(1, len(tried) + 1):
        for chosen in combinations(tried, size):
            if _carries(first, committed, chosen):
                yield list(chosen)
    if len(able) > len(tried):
        # The second leg gets least from those who have little but committed memory.
        able.sort(key=lambda c: (free.get(c, 0) - committed[c], -committed[c], c))
        chosen_all = next((able[:n] for n in range(1, len(able) + 1) if _carries(first, committed, able[:n])), None)
        if chosen_all is not None:
            yield chosen_all


def _carries(need: Need, rooms: Rooms, chosen: Sequence[str]) -> bool:
    """Whether these lenders, each of which is needed for it, can carry the need, spread as asked."""
    if len(chosen) < min(need.min_lenders, need.grains):
        return False
    return sum(rooms[c] for c in chosen) >= need.grains


def _fewest(need: Need, rooms: Rooms) -> list[str] | None:
    if not need.grains:
        return []
    ranked = sorted((c for c, room in rooms.items() if room), key=lambda c: (-rooms[c], c))
    return next((ranked[:n] for n in range(1, len(ranked) + 1) if _carries(need, rooms, ranked[:n])), None)


def _shares(need: Need, rooms: Rooms, chosen: Sequence[str], leg: int) -> list[Share]:
    if not chosen:
        return []
    parts = divide(need.grains, {c: rooms[c] for c in chosen})
    return [Share(c, parts[c] * need.grain_bytes + need.overhead_bytes, leg) for c in chosen]


def _shortage(first: Need, second: Need, candidates: Sequence[Candidate]) -> str:
    """Say what is missing, and which modes could be had instead."""
    need = first if first.grains else second
    anybody = place(need, list(candidates))
    committed = place(need, [c.committed for c in candidates])
    can_lend = mib(lendable_bytes(need, list(candidates)))
    set_aside = mib(lendable_bytes(need, [c.committed for c in candidates]))
    instead = [mode for mode, placed in (("mirror", anybody), ("move", committed)) if placed.shares]
    offer = f"; borrow by {' or '.join(instead)} instead" if instead else ""
    wanted = (
        f"a pair needs two sets of lenders with {mib(need.size_bytes)} each and none in both, one on committed memory"
    )
    if not anybody.shares:
        return f"{wanted}, but the cluster can lend {can_lend} now"
    if not committed.shares:
        return f"{wanted}, but only {set_aside} that can be lent now are committed{offer}"
    return f"{wanted}, but only one set can be had: {len(candidates)} lender(s) can lend {can_lend} together{offer}"
