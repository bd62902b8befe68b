"""Who is there, who has yet to be heard, and when each will have been silent for too long. Pure; of the cluster."""

from heapq import heappop, heappush

from ramshare.retained import ClientState
from ramshare.topics import role

COUNTED = ("lender", "borrower")
"""Guests are the lenders' business."""


class Presence:
    """Of lenders and borrowers; every change costs the logarithm of their number."""

    def __init__(self) -> None:
        self.unheard: set[str] = set()
        """Online by their retained status, and silent since we connected."""
        self.online: set[str] = set()
        self.borrowers_online: set[str] = set()
        self._usable: set[str] = set()
        self._expected: list[tuple[float, str]] = []
        """When each would be stale if it said nothing more; at most one entry a client, perhaps too early."""
        self._in_expected: set[str] = set()

    def note(self, client: str, view: ClientState | None, *, usable: bool) -> bool:
        """Take note of a client as it is now; return whether it has become usable, or is no more."""
        if role(client) not in COUNTED:
            return False
        _put(self.unheard, client, view is not None and view.online and not view.fresh)
        _put(self.online, client, view is not None and view.online)
        _put(self.borrowers_online, client, view is not None and view.online and role(client) == "borrower")
        return _put(self._usable, client, usable)

    def expect(self, client: str, until_s: float) -> None:
        """Have `silent` tell of this client at `until_s`, unless it will anyhow."""
        if client not in self._in_expected and role(client) in COUNTED:
            self._in_expected.add(client)
            heappush(self._expected, (until_s, client))

    def silent(self, now_s: float) -> list[str]:
        """Return whose time has come, or came if it was not heard meanwhile."""
        found = []
        while self._expected and self._expected[0][0] < now_s:
            _, client = heappop(self._expected)
            self._in_expected.discard(client)
            found.append(client)
        return found


def _put(into: set[str], client: str, wanted: bool) -> bool:
    if wanted == (client in into):
        return False
    into.symmetric_difference_update({client})
    return True
