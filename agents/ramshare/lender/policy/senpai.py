"""A control law in senpai's manner, as a yardstick: probe a little, back off at once.

senpai tightens a container's memory by at most 1 % per 6 s until it stalls. Lending tightens a host's in the same way.
Where no stall is known (a recorded trace), use that reaches into a small reserve counts as one.
"""

from collections.abc import Mapping
from typing import Any

from ramshare.lender.policy.base import StreamPolicy, Target
from ramshare.lender.policy.intake import View

PROBE_SHARE = 0.01
PROBE_S = 6.0
RESERVE_SHARE = 0.10
"""What the probing leaves free. senpai needs none, since it can measure stalls."""
APPROACH = 0.1
"""Part of the distance to the reserve that one probe covers: small steps near the edge."""


class Stateless:
    """The law needs no memory but the loan itself."""

    def snapshot(self) -> dict[str, Any]:
        """Return nothing, as JSON-able data."""
        return {}


class Senpai(StreamPolicy[Stateless]):
    """Lends a little more at every step, and takes back double what reaches into the reserve."""

    name = "senpai"

    def __init__(self, caution: float = 1.0) -> None:
        super().__init__()
        self._reserve_share = RESERVE_SHARE * caution

    def _new_state(self) -> Stateless:
        return Stateless()

    def _load_state(self, data: Mapping[str, Any]) -> Stateless:
        return Stateless()

    def _target(self, state: Stateless, view: View, lent_bytes: float) -> Target:
        reserve_bytes = self._reserve_share * view.capacity_bytes
        room_bytes = view.free_bytes - lent_bytes - reserve_bytes
        figures = {"reserve_bytes": reserve_bytes, "room_bytes": room_bytes}
        if room_bytes < 0:
            return Target(
                lent_bytes + 2 * room_bytes, "use reached into the reserve, so twice that comes back", figures
            )
        probes = view.step_s / PROBE_S
        step_bytes = min(PROBE_SHARE * probes * view.capacity_bytes, (1 - (1 - APPROACH) ** probes) * room_bytes)
        return Target(lent_bytes + step_bytes, "nothing stalled, so a little more is lent", figures)
