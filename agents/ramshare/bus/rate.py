"""How much of a kind one sender may send: a token bucket each. Pure; the time is given."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """What may come for ever, and what may come at once after a silence."""

    per_s: float
    burst: int


class TokenBuckets:
    """A bucket per key, full at first. Of `remembered` keys the one that was silent longest is forgotten first.

    What is forgotten begins anew with a full bucket. So a sender gains from that only who has more names than are
    remembered, and names are accounts.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        """Tokens at a time."""

    def take(self, key: Hashable, rate: Rate, now_s: float) -> bool:
        """Take a token from a key's bucket; False if there is none. A clock that goes back fills nothing."""
        tokens, since_s = self._buckets.pop(key, (float(rate.burst), now_s))
        tokens = min(float(rate.burst), tokens + max(0.0, now_s - since_s) * rate.per_s)
        taken = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if taken else tokens, max(now_s, since_s))
        if len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
        return taken

    def __len__(self) -> int:
        return len(self._buckets)
