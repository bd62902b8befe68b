"""The brokers' own rules, for the broker of the unit tests: it refuses what the real ones refuse."""

from functools import cache
from typing import Literal

from ramshare.broker.rights import GUEST, Rights, own_rights, role_rights
from ramshare.bus.wire import matches
from ramshare.topics import VERSION, WRITES, name, role

Access = Literal["read", "write", "subscribe"]


def allowed(client: str, access: Access, topic: str, root: str, everybody: Rights) -> bool:
    """Return whether `client` may read or write `topic`, or subscribe to that filter."""
    rights = _rights(client, root) + everybody + _of_guest(client, topic, root)
    if access == "subscribe":
        return topic in rights.subscribe or any(_within(filter_, topic) for filter_ in rights.subscribe_within)
    return any(matches(filter_, topic) for filter_ in (rights.write if access == "write" else rights.read))


@cache
def _rights(client: str, root: str) -> Rights:
    if role(client) not in WRITES:
        return Rights()
    return own_rights(client, root) + role_rights(role(client), (), root)


def _of_guest(client: str, topic: str, root: str) -> Rights:
    """Real rules name every guest that has an account; here any has one."""
    parts = topic.split("/")
    if len(parts) < 5 or role(client) not in WRITES or parts[1] != VERSION:
        return Rights()
    named = [name(part) for part in parts[3:5] if role(part) == GUEST and part != GUEST]
    claimed = parts[5:6] if parts[4] == GUEST else []
    return role_rights(role(client), (*named, *claimed), root)


def _within(wide: str, narrow: str) -> bool:
    """Return whether the filter `wide`, which ends with `#`, takes in all that `narrow` does."""
    return f"{narrow}/".startswith(wide.removesuffix("#"))
