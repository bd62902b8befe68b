"""Which manager a lender obeys: the newest that it has heard of, and none before it. Pure; kept beside the images.

Of two managers one may be deposed and not know it (it was stopped, or cut off, and its orders were under way): whatever
it orders then is refused here, and by the clock of nobody.
"""

from ramshare.desk import RefusedError
from ramshare.generation import NONE, Generation
from ramshare.messages.replies import ErrorCode


class Fence:
    """Goes up only. What it remembers outlasts the lender's agent, as long as the leases that it protects."""

    def __init__(self, newest: Generation = NONE) -> None:
        self.newest = newest

    def admit(self, order: Generation) -> bool:
        """Return whether an order is of a newer manager than any before. Raises `RefusedError` if it is of an older."""
        if order < self.newest:
            raise RefusedError(
                ErrorCode.OUTDATED,
                f"generation {order.number} of {order.manager} is over: {self.newest.manager} ({self.newest.number}) "
                "took over",
            )
        newer = order > self.newest
        self.newest = order
        return newer
