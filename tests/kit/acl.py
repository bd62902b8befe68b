"""The brokers' own rules, for the broker of the unit tests: it refuses what the real ones refuse."""

from functools import cache
from typing import Literal

from ramshare.broker.rights import GUEST, Rights, own_rights, role_rights
from ramshare.bus.wire import matches
from ramshare.topics import VERSION, WRITES, name, role

Access = Literal["read", "write", "subscribe"]


def allowed(client: str, access: Access, topic: str, root: str, everybody: Rights) -> bool:
    """Return whether `client` may read or write `topic`, or subscribe to that filter."""
    rights = _rights(client, root) + everybody
    if access == "subscribe":
        return topic in rights.subscribe + _of_guest(client, topic, root) or any(
            _within(filter_, topic) for filter_ in rights.subscribe_within
        )
    return any(matches(filter_, topic) for filter_ in (rights.write if access == "write" else rights.read))


@cache
def _rights(client: str, root: str) -> Rights:
    if role(client) not in WRITES:
        return Rights()
    return own_rights(client, root) + role_rights(role(client), (), root)


def _of_guest(client: str, topic: str, root: str) -> tuple[str, ...]:
    """Real rules name every guest that has an account; here any has one."""
    parts = topic.split("/")
    if len(parts) < 4 or role(parts[3]) != GUEST or role(client) not in WRITES or parts[1] != VERSION:
        return ()
    return role_rights(role(client), (name(parts[3]),), root).subscribe


def _within(wide: str, narrow: str) -> bool:
    """Return whether the filter `wide`, which ends with `#`, takes in all that `narrow` does."""
    return f"{narrow}/".startswith(wide.removesuffix("#"))
