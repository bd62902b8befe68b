"""Measures leases against the local disk, and remembers what came of it. Runs on the borrower's worker thread."""

from collections.abc import Callable
from statistics import mean, median

from ramshare.borrower.plan.comparison import Comparison
from ramshare.errors import RamshareError
from ramshare.linux.direct_read import read_times_s

REMEMBERED = 256
"""Leases; each is asked for within seconds of being measured, or never."""


class Comparisons:
    """Lease to what was measured of it by this run; another run measures again."""

    def __init__(self, read_times_s: Callable[[str], list[float]] = read_times_s) -> None:
        self._read_times_s = read_times_s
        self._found: dict[str, Comparison] = {}

    def of(self, lease: str) -> Comparison | None:
        """Return what was found."""
        return self._found.get(lease)

    def make(self, volume: str, lease: str, device: str) -> None:
        """Read from the volume's own device, which lies at home still, and from the lease's disk.

        Raises `RamshareError` if the volume cannot be read; a lease that cannot is one that does not help.
        """
        # On average, for a disk (or its throttle) that answers some at once makes others wait: in a storm all are paid.
        home_read_s = mean(self._read_times_s(f"/dev/{volume}"))
        try:
            found = Comparison(median(self._read_times_s(device)), home_read_s)
        except RamshareError as error:
            found = Comparison(0.0, home_read_s, str(error))
        while len(self._found) >= REMEMBERED:
            del self._found[next(iter(self._found))]
        self._found[lease] = found
