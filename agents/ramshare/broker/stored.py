"""How much each account has stored at the hosts' broker, against the most that any needs. Pure.

A retained topic costs the broker memory for as long as nobody clears it, and Mosquitto has no bound for each account,
only one for all: who reaches that one takes everybody's broker. Guests, people and dashboards have a few topics with
fixed names; lenders and borrowers have one for each lease or volume.
"""

from collections import Counter

from ramshare.topics import DEFAULT_ROOT, MANAGER, VERSION, WRITES, role

MOST_BYTES = 16 << 20
"""A lender with 10,000 leases stores 10 MB; a sixteenth of what the broker may have for all."""
TOPIC_BYTES = 400
"""What the broker keeps for a stored topic besides its name and payload (measured: 300 to 500)."""
COUNTED = frozenset(kind for kind, paths in WRITES.items() if any("+" in path for path in paths)) - {MANAGER}
"""Roles that may store as much as they like. The manager, which stores a topic for each host and lease, is trusted."""


class Stored:
    """What is stored by whom, as told by the stored topics and every change of them."""

    def __init__(self, root: str = DEFAULT_ROOT, most_bytes: int = MOST_BYTES) -> None:
        self._base = f"{root}/{VERSION}/state/"
        self._most_bytes = most_bytes
        self._sizes: dict[str, int] = {}
        self._of: Counter[str] = Counter()

    def note(self, topic: str, payload_bytes: int) -> str:
        """Take in a stored value, 0 bytes where a topic was cleared; return the account if it has too much now."""
        client = topic.removeprefix(self._base).partition("/")[0]
        if not topic.startswith(self._base) or role(client) not in COUNTED:
            return ""
        size = payload_bytes + len(topic) + TOPIC_BYTES if payload_bytes else 0
        self._of[client] += size - self._sizes.pop(topic, 0)
        if size:
            self._sizes[topic] = size
        return client if self._of[client] > self._most_bytes else ""
