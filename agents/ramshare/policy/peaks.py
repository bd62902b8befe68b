"""The highest value within a sliding window, in bounded memory; what several policies remember of a host."""

from collections import deque
from collections.abc import Iterable

BUCKET_S = 300.0
"""Values this close share one entry: a window stays bounded at any reporting interval. Five minutes is the usual step
of data-centre monitoring."""


class Peaks:
    """A queue of falling maxima: the first is the window's highest, each later one the highest since the one before."""

    def __init__(self, window_s: float, bucket_s: float = BUCKET_S, falling: Iterable[Iterable[float]] = ()) -> None:
        self._window_s = window_s
        self._bucket_s = bucket_s
        self._falling: deque[tuple[float, float]] = deque((float(at_s), float(value)) for at_s, value in falling)

    def push(self, clock_s: float, value: float) -> float:
        """Add a value at a time that never falls and return the highest of the window that ends there."""
        falling = self._falling
        while falling and falling[-1][1] <= value:
            falling.pop()
        if not falling or falling[-1][0] // self._bucket_s < clock_s // self._bucket_s:
            falling.append((clock_s, value))
        while falling and falling[0][0] <= clock_s - self._window_s:
            falling.popleft()
        return falling[0][1] if falling else value

    def snapshot(self) -> list[list[float]]:
        """Return the queue as JSON-able data, for the constructor."""
        return [list(entry) for entry in self._falling]
