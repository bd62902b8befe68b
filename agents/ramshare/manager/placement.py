"""Choose the lenders of a loan: pure, deterministic, and with a sentence that says why these.

As few lenders as the request allows (every lender more is one more that can fail), those with the most free memory
first, and the bytes divided in proportion to what each has free, so that nobody is emptied while another stays idle.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Candidate:
    """A lender that may be asked, and the bytes it can give."""

    lender: str
    free_bytes: int
    committed_bytes: int = 0
    """Of them, those that may back a move, or the first leg of a pair."""

    @property
    def committed(self) -> "Candidate":
        """The same lender, asked for committed memory only."""
        return replace(self, free_bytes=self.committed_bytes)


def together(free: list[Candidate], committed: list[Candidate]) -> list[Candidate]:
    """Return each lender once, with what it has of any kind and of committed memory."""
    found = {c.lender: c for c in [*committed, *free]}
    set_aside = {c.lender: c.free_bytes for c in committed}
    return [replace(c, committed_bytes=set_aside.get(c.lender, 0)) for c in found.values()]


@dataclass(frozen=True)
class Share:
    """Bytes to take from one lender, overhead included."""

    lender: str
    size_bytes: int
    leg: int = 0
    """Of a pair, the leg that it is a part of."""


@dataclass(frozen=True)
class Placement:
    """The shares, empty if the cluster cannot serve the request, and why."""

    shares: tuple[Share, ...]
    reason: str


@dataclass(frozen=True)
class Need:
    """What is asked for: payload bytes in multiples of `grain_bytes`, plus `overhead_bytes` in every lease."""

    size_bytes: int
    grain_bytes: int
    overhead_bytes: int = 0
    min_lenders: int = 1
    at_most: bool = False
    """Less will do."""

    @property
    def grains(self) -> int:
        """The payload in grains, rounded up; 0 if nothing is asked for."""
        return max(0, -(-self.size_bytes // self.grain_bytes))

    def room(self, free_bytes: int) -> int:
        """Return the grains of payload that fit into one lease of so many bytes."""
        return max(0, (free_bytes - self.overhead_bytes) // self.grain_bytes)


MAX_LENDERS = 64
"""As many leases as a borrow reply may carry."""


def place(need: Need, candidates: list[Candidate]) -> Placement:
    """Return who lends how much. Every share fits its lender; payloads sum up to the need, rounded up to the grain."""
    grains = need.grains
    rooms = {c.lender: need.room(c.free_bytes) for c in candidates}
    by_free = sorted(candidates, key=lambda c: (-c.free_bytes, c.lender))
    ranked = [c.lender for c in by_free if rooms[c.lender] > 0][:MAX_LENDERS]
    wanted = min(need.min_lenders, grains)
    chosen: list[str] = []
    for lender in ranked:
        chosen.append(lender)
        if len(chosen) >= wanted and sum(rooms[c] for c in chosen) >= grains:
            break
    room = sum(rooms[c] for c in chosen)
    if need.at_most and room:
        grains = min(grains, room)
    if room < grains:
        able = lendable_bytes(need, candidates)
        return Placement((), f"asked for {mib(need.size_bytes)}, but the cluster can lend {mib(able)} now")
    if len(chosen) < wanted:
        return Placement((), f"asked for at least {wanted} lenders, but only {len(chosen)} have memory to lend")
    shares = divide(grains, {c: rooms[c] for c in chosen})
    bytes_of = {c: n * need.grain_bytes + need.overhead_bytes for c, n in shares.items()}
    told = ", ".join(f"{c} {mib(bytes_of[c])} of {mib(rooms[c] * need.grain_bytes)}" for c in chosen)
    why = "the most free memory" if len(chosen) == 1 else f"no fewer than {len(chosen)} can carry it"
    if len(chosen) == wanted > 1:
        why = f"spread over {wanted} as asked"
    return Placement(tuple(Share(c, bytes_of[c]) for c in chosen), f"{told}: {why}")


def lendable_bytes(need: Need, candidates: list[Candidate]) -> int:
    """Return the largest payload that `candidates` could carry in leases of this grain and overhead."""
    rooms = sorted((need.room(c.free_bytes) for c in candidates), reverse=True)
    return sum(rooms[:MAX_LENDERS]) * need.grain_bytes


def divide(grains: int, rooms: dict[str, int]) -> dict[str, int]:
    """Divide in proportion to room, at least one grain each, never more than the room."""
    total = sum(rooms.values())
    shares = {c: max(1, min(room, grains * room // total)) for c, room in rooms.items()}
    for lender in sorted(rooms, key=lambda c: (-rooms[c], c)):
        shares[lender] += min(rooms[lender] - shares[lender], max(0, grains - sum(shares.values())))
    for lender in sorted(rooms, key=lambda c: (rooms[c], c)):
        shares[lender] -= min(shares[lender] - 1, max(0, sum(shares.values()) - grains))
    return shares


def mib(size_bytes: int) -> str:
    """Rounded down: what is said to be lendable must be lendable."""
    return f"{size_bytes >> 20} MiB"
