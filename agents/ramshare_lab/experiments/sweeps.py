"""Measuring many points on one array: block sizes and access patterns, in an order that keeps them comparable.

`measure` commands a `Thrash`; the lab places the swap.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ramshare_lab.load.thrash import OnProgress, Thrash
from ramshare_lab.load.thrash_lines import Pattern, Result

ORDER = (Pattern.SEQUENTIAL_READ, Pattern.RANDOM_READ, Pattern.SEQUENTIAL_WRITE, Pattern.RANDOM_WRITE)
"""Reads first: pages that a write made dirty have to be swapped out at the cost of whatever is measured next."""
Key = tuple[int, int, Pattern]
"""Data size in bytes, block size in bytes, pattern."""
Measured = Mapping[Key, Result]


@dataclass(frozen=True)
class Point:
    """One measurement: a block size and a pattern."""

    block_bytes: int
    pattern: Pattern


@dataclass(frozen=True)
class Session:
    """One array, initialised once, and the points measured on it in this order.

    Reads come first, see `ORDER`. Sequential ones begin: right after `init` the pages at the cursor are those longest
    unused, which is the state that going round and round ends in, and going on in order keeps it.
    """

    data_bytes: int
    points: tuple[Point, ...]


def measure(
    thrash: Thrash,
    points: Sequence[Point],
    seconds: float,
    on_point: Callable[[Point, Result], None] | None = None,
    on_progress: OnProgress | None = None,
) -> dict[Key, Result]:
    """Measure `points` on an array that is initialised already."""
    measured: dict[Key, Result] = {}
    for point in points:
        result = thrash.run(point.pattern, block_bytes=point.block_bytes, seconds=seconds, on_progress=on_progress)
        measured[thrash.size_bytes, point.block_bytes, point.pattern] = result
        if on_point is not None:
            on_point(point, result)
    return measured


def measure_patterns(
    thrash: Thrash, block_bytes: int, seconds: float, on_progress: OnProgress | None = None
) -> dict[Pattern, Result]:
    """Measure the four patterns at one block size, in the order that sessions use; what the demo does in each place."""
    measured = measure(thrash, points_of([block_bytes]), seconds, on_progress=on_progress)
    return {pattern: result for (_, _, pattern), result in measured.items()}


def points_of(blocks: Sequence[int]) -> tuple[Point, ...]:
    """Return the four patterns at each block size, in `ORDER`."""
    return tuple(Point(block, pattern) for pattern in ORDER for block in blocks)
