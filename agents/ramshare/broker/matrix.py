"""The access matrix: what each role may write and read, on its own topics and on others', as the rules have it. Pure.

`ramshare broker matrix` prints it; a test holds it against both real brokers.
"""

from dataclasses import dataclass

from ramshare.broker.rights import BRIDGE, GUEST, HOSTS_ROLES, Rights, bridge_rights, own_rights, role_rights
from ramshare.topics import ALLOWED, DASHBOARD, DEFAULT_ROOT, EVERYBODY, MANAGER, OWN_HOST, VERSION, WRITES, role

ROLES = (GUEST, "lender", "borrower", MANAGER, "cli", DASHBOARD, BRIDGE)
OTHER = "other"
_EXAMPLES = {
    "export/+": "export/l1",
    "lease/+": "lease/l1",
    "volume/+/+": "volume/vg0/swap",
    "host/+": "host/hosta",
    "guest/+": f"guest/{OTHER}",
}


@dataclass(frozen=True)
class Row:
    """One kind of topic, seen by an account: its own or somebody else's."""

    channel: str
    whose: str
    topic: str
    """With `{me}` for the account that looks."""

    def of(self, client: str) -> str:
        """Return the topic as `client` sees it."""
        return self.topic.format(me=client)


def account_of(kind: str) -> str:
    """Return the account that stands for a role in the matrix."""
    return kind if kind in (MANAGER, DASHBOARD, BRIDGE) else f"{kind}.me"


def other_of(kind: str) -> str:
    """Return somebody else of that role."""
    return MANAGER if kind == MANAGER else f"{kind}.{OTHER}"


def rows(root: str = DEFAULT_ROOT) -> list[Row]:
    """Return every row: state and events, own and foreign; requests, as oneself and as another; replies."""
    base = f"{root}/{VERSION}"
    kinds = ("guest", "lender", "borrower", MANAGER)
    paths = dict.fromkeys(_EXAMPLES.get(path, path) for kind in kinds for path in WRITES[kind])
    found = [Row(f"state …/{path}", "own", f"{base}/state/{{me}}/{path}") for path in paths]
    found += [
        Row(f"state …/{_EXAMPLES.get(path, path)}", other_of(kind), f"{base}/state/{other_of(kind)}/{_example(path)}")
        for kind in kinds
        for path in WRITES[kind]
    ]
    found.append(Row("event", "own", f"{base}/event/{{me}}/step"))
    found += [Row("event", other_of(kind), f"{base}/event/{other_of(kind)}/step") for kind in kinds]
    for server, verb in ALLOWED:
        place = server if server in (MANAGER, EVERYBODY, OWN_HOST) else other_of(server)
        found.append(Row(f"request {verb}", f"to {place}", f"{base}/request/{place}/{{me}}/{verb}"))
        found.append(Row(f"request {verb}", f"as cli.{OTHER} to {place}", f"{base}/request/{place}/cli.{OTHER}/{verb}"))
        if server == OWN_HOST:
            guest = other_of(GUEST)
            found.append(Row(f"request {verb}", f"as {guest} to {place}", f"{base}/request/{place}/{guest}/{verb}"))
        elif server != EVERYBODY:
            asker = MANAGER if MANAGER in ALLOWED[server, verb] else other_of(min(ALLOWED[server, verb]))
            found.append(Row(f"request {verb}", "to oneself", f"{base}/request/{{me}}/{asker}/{verb}"))
    found.append(Row("reply", "to oneself", f"{base}/reply/{{me}}/lender.{OTHER}"))
    found.append(Row("reply", f"of {OWN_HOST} to oneself", f"{base}/reply/{{me}}/{OWN_HOST}"))
    guest = other_of(GUEST)
    found.append(Row("reply", f"of {OWN_HOST} to {guest}", f"{base}/reply/{guest}/{OWN_HOST}"))
    found.append(Row("reply", f"of {OWN_HOST} to cli.{OTHER}", f"{base}/reply/cli.{OTHER}/{OWN_HOST}"))
    found.append(Row("reply", f"as oneself to cli.{OTHER}", f"{base}/reply/cli.{OTHER}/{{me}}"))
    found.append(Row("reply", f"of lender.{OTHER} to cli.{OTHER}", f"{base}/reply/cli.{OTHER}/lender.{OTHER}"))
    return list(dict.fromkeys(found))


def rights_of(kind: str, root: str = DEFAULT_ROOT) -> Rights:
    """Return the rights of the account that stands for a role."""
    if kind == BRIDGE:
        return bridge_rights((OTHER,), root)
    assert kind in HOSTS_ROLES | {GUEST}
    return own_rights(account_of(kind), root) + role_rights(role(kind), (OTHER,), root)


def may(rights: Rights, access: str, topic: str) -> bool:
    """Return whether these rights let an account `write` or `read` a topic."""
    return any(covers(rule, topic) for rule in (rights.write if access == "write" else rights.read))


def table(root: str = DEFAULT_ROOT) -> list[tuple[str, str, dict[str, str]]]:
    """Return (channel, whose, role to `w`, `r`, `rw` or nothing) of every row."""
    known = {kind: rights_of(kind, root) for kind in ROLES}

    def cell(kind: str, row: Row) -> str:
        topic = row.of(account_of(kind))
        return "r" * may(known[kind], "read", topic) + "w" * may(known[kind], "write", topic)

    return [(row.channel, row.whose, {kind: cell(kind, row) for kind in ROLES}) for row in rows(root)]


def covers(topic_filter: str, topic: str) -> bool:
    """Return whether an MQTT topic filter covers a topic (MQTT 5, section 4.7)."""
    wanted, parts = topic_filter.split("/"), topic.split("/")
    for position, part in enumerate(wanted):
        if part == "#":
            return True
        if position >= len(parts) or part not in ("+", parts[position]):
            return False
    return len(wanted) == len(parts)


def _example(path: str) -> str:
    return _EXAMPLES.get(path, path)
