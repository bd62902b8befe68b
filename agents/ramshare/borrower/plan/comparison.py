"""Whether a lease would help: what a read from it takes, and what one from the local disk takes now. Pure.

Asked once for each lease of a loan that is to be kept only if it is faster, when its disk is there and before anything
of the volume is put on it (`leases.proven`).
"""

from dataclasses import dataclass

LEAST_GAIN = 2.0
"""A lease must read so many times as fast: less is not worth the copying, and the load to come makes it slower."""


@dataclass(frozen=True)
class Comparison:
    """What was measured of one lease. `error`: it could not be read, so nothing may be put on it."""

    lease_read_s: float
    home_read_s: float
    error: str = ""

    @property
    def helps(self) -> bool:
        """Whether the lease is clearly faster."""
        return not self.error and self.home_read_s >= LEAST_GAIN * self.lease_read_s

    def __str__(self) -> str:
        if self.error:
            return self.error
        return f"a read takes {_ms(self.lease_read_s)} from it and {_ms(self.home_read_s)} from the local disk now"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"
