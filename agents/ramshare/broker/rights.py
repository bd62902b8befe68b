"""Who may write, read and subscribe to what: every rule of both brokers follows from the tables of `topics.py`. Pure.

Agents go by the same tables when they judge a request, so broker and agents cannot disagree. Subscriptions are granted
by exact filter only: whoever may subscribe to what it likes may do so a million times, and the broker keeps each.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ramshare.topics import (
    AGENTS,
    ALLOWED,
    CLAIMS,
    DASHBOARD,
    DEFAULT_ROOT,
    EVERYBODY,
    HEARS_EVENTS,
    MANAGER,
    OWN_HOST,
    SERVES_GUESTS,
    TELLS_EVENTS,
    VERSION,
    WATCHES,
    WRITES,
    name,
    role,
    server_name,
)

BRIDGE = "bridge"
"""Account of the guests' broker on the hosts' broker: it may say what guests say, and nothing else."""
DROPPED = "$SYS/broker/publish/messages/dropped"
"""The only sign that a queue overflowed; agents read it."""
GUEST = "guest"
HOSTS_ROLES = frozenset(WRITES) - {GUEST}
"""Roles with an account on the hosts' broker. A guest has its account on the guests' broker."""
REPORT = "memory"
NAMED_GUESTS = 1_000
"""Up to so many guests the bridge may speak for each by name. The plugin looks at one rule after the other: a report
costs the broker 0.03 ms among 1,000 guests, 0.2 ms among 10,000, and 0.015 ms with one rule (measured). So beyond that
one rule is for all memory reports: lenders hear their own guests' only, and nobody else decides by them. Of status, one
word of which takes an agent out of service, the bridge may then say nothing: who reports is there."""
GUEST_REQUESTS = tuple(verb for (server, verb) in ALLOWED if server == OWN_HOST)
"""Verbs that guests may ask their own host for through the bridge; its replies come back over it, and nobody else's."""


@dataclass(frozen=True)
class Rights:
    """What one account, or all accounts of a role, may do, as topic filters."""

    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    """Exactly these filters."""
    subscribe_within: tuple[str, ...] = ()
    """These filters and any that match less: for people who may ask for everything anyway."""

    def __add__(self, other: "Rights") -> "Rights":
        return Rights(
            self.write + other.write,
            self.read + other.read,
            self.subscribe + other.subscribe,
            self.subscribe_within + other.subscribe_within,
        )


def own_rights(client: str, root: str = DEFAULT_ROOT) -> Rights:
    """Return what an account may do because of its name."""
    base, kind, asked_as = f"{root}/{VERSION}", role(client), server_name(client)
    own_state = f"{base}/state/{client}"
    serves = [verb for (server, verb) in ALLOWED if server == kind]
    write = [f"{own_state}/{path}" for path in WRITES[kind]]
    write += _asks(base, client)
    read = [f"{own_state}/#", f"{base}/reply/{client}/+"]
    subscribe = [f"{own_state}/#", f"{base}/reply/{client}/+", f"{base}/request/{asked_as}/+/+"]
    if kind in TELLS_EVENTS:
        write.append(f"{base}/event/{client}/+")
    if serves:
        write.append(f"{base}/reply/+/{asked_as}")
        read += [f"{base}/request/{asked_as}/+/{verb}" for verb in serves]
    for whose, path in WATCHES[kind]:
        if whose not in ("+", GUEST):
            same_host = f"{base}/state/{whose}.{name(client)}/{path}"
            read.append(same_host)
            subscribe.append(same_host)
    if kind in (DASHBOARD, "cli"):
        subscribe += [f"{own_state}/{path}" for path in WRITES[kind]]
    return Rights(tuple(write), tuple(read), tuple(subscribe))


def role_rights(kind: str, guests: Collection[str] = (), root: str = DEFAULT_ROOT) -> Rights:
    """Return what every account of a role may do. `guests` are the names of those that exist."""
    base = f"{root}/{VERSION}"
    broadcasts = [verb for (server, verb) in ALLOWED if server == EVERYBODY]
    read = [DROPPED]
    subscribe = [DROPPED, f"{base}/request/{EVERYBODY}/+/+"]
    if kind in AGENTS - {GUEST}:
        read += [f"{base}/request/{EVERYBODY}/+/{verb}" for verb in broadcasts]
    write: list[str] = []
    if kind == SERVES_GUESTS:
        read += [f"{base}/request/{OWN_HOST}/+/{verb}" for verb in GUEST_REQUESTS]
        subscribe += [f"{base}/request/{OWN_HOST}/{GUEST}.{guest}/+" for guest in guests]
        named = [f"{base}/reply/{GUEST}.{guest}/{OWN_HOST}" for guest in guests]
        write += named if len(named) <= NAMED_GUESTS else [f"{base}/reply/+/{OWN_HOST}"]
    for whose, path in WATCHES[kind]:
        if path == CLAIMS:
            read.append(f"{base}/state/+/{path}")
            subscribe += [f"{base}/state/+/{GUEST}/{guest}" for guest in guests]
        elif whose == "+":
            read.append(f"{base}/state/+/{path}")
            subscribe.append(f"{base}/state/+/{path}")
        elif whose == GUEST:
            # Rules have no pattern for `guest.+`: any client's memory may be read, subscriptions are to guests only.
            read.append(f"{base}/state/+/{path}")
            subscribe += [f"{base}/state/{GUEST}.{guest}/{path}" for guest in guests]
    if kind in HEARS_EVENTS:
        read.append(f"{base}/event/#")
        subscribe += [f"{base}/#", f"{base}/event/+/#", f"{base}/event/#", f"{base}/state/#"]
        subscribe += [f"{base}/state/+/{path}" for path in dict.fromkeys(p for of in AGENTS for p in WRITES[of])]
    within = (f"{base}/state/#", f"{base}/event/#") if kind == "cli" else ()
    return Rights(tuple(write), tuple(read), tuple(subscribe), within)


def bridge_rights(guests: Iterable[str], root: str = DEFAULT_ROOT) -> Rights:
    """Return what the guests' broker may do on the hosts' broker: only what its guests may, each by name.

    Of more guests than `NAMED_GUESTS` it may say anybody's memory, and no status: see there. It asks hosts in any name
    then, and is heard in the names of guests that owners named.
    """
    base = f"{root}/{VERSION}"
    known = list(guests)
    if len(known) > NAMED_GUESTS:
        write = [f"{base}/state/+/{REPORT}"]
        write += [f"{base}/request/{OWN_HOST}/+/{verb}" for verb in GUEST_REQUESTS]
        read = [f"{base}/reply/+/{OWN_HOST}"]
    else:
        write = [f"{base}/state/{GUEST}.{guest}/{path}" for guest in known for path in WRITES[GUEST]]
        write += [f"{base}/request/{OWN_HOST}/{GUEST}.{guest}/{verb}" for guest in known for verb in GUEST_REQUESTS]
        read = [f"{base}/reply/{GUEST}.{guest}/{OWN_HOST}" for guest in known]
    return Rights(tuple(write), tuple(read), (f"{base}/reply/+/{OWN_HOST}",))


def bridged(guests: int = 0, root: str = DEFAULT_ROOT) -> tuple[tuple[str, str], ...]:
    """Return (topic filter, `out` to the hosts' broker or `in` from it) of everything that the bridge carries."""
    base = f"{root}/{VERSION}"
    out = [f"{base}/state/+/{path}" for path in WRITES[GUEST] if path == REPORT or guests <= NAMED_GUESTS]
    out += [f"{base}/request/{OWN_HOST}/+/{verb}" for verb in GUEST_REQUESTS]
    return (*((topic, "out") for topic in out), (f"{base}/reply/+/{OWN_HOST}", "in"))


def _asks(base: str, client: str) -> Iterator[str]:
    """Yield the request topics on which a client may ask. Rules have no pattern for `lender.+`, so the verb decides."""
    for (server, verb), roles in ALLOWED.items():
        if role(client) in roles:
            place = server if server in (MANAGER, EVERYBODY, OWN_HOST) else "+"
            yield f"{base}/request/{place}/{client}/{verb}"
