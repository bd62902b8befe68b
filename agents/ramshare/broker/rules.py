"""The rights as Mosquitto's dynamic-security plugin reads them: one JSON document for each broker. Pure.

Not an access file: with one Mosquitto grants every subscription of every account, and each costs it memory until the
broker ends at its limit. The plugin refuses them. It belongs to Mosquitto 2 and is in its Debian package and its
container. It is given its rules as a file; its commands are nobody's, see `telling.py`.
"""

from collections.abc import Iterable
from typing import Any

from ramshare.broker.rights import BRIDGE, GUEST, HOSTS_ROLES, Rights, bridge_rights, own_rights, role_rights
from ramshare.topics import DEFAULT_ROOT, VERSION, role

Json = dict[str, Any]
ADMIN = "broker.admin"
"""Account of `ramshare broker revoke`; its certificate is made for minutes and never stored."""
GUARD = "broker.guard"
"""Account of `ramshare broker guard`; likewise."""
NONE = Rights()


def admin_rights(root: str) -> Rights:
    """Return what an administrator's command may do: clear what accounts left. Nobody may command the plugin."""
    states = f"{root}/{VERSION}/state/#"
    return Rights((states,), (states,), (), (states,))


def guard_rights(root: str) -> Rights:
    """Return what the guard may do: look at what is stored."""
    states = f"{root}/{VERSION}/state/#"
    return Rights(read=(states,), subscribe=(states,))


def hosts_rules(
    accounts: Iterable[str], guests: Iterable[str], root: str = DEFAULT_ROOT, everybody: Rights = NONE
) -> Json:
    """Return the rules of the hosts' broker. `accounts` are client names, `guests` names of guests.

    `everybody` is what every account may do besides; tests mark the end of a stream so.
    """
    known = sorted(guests)
    roles = {kind: role_rights(kind, known, root) + everybody for kind in sorted(HOSTS_ROLES)}
    roles[BRIDGE] = bridge_rights(known, root)
    roles[GUARD] = guard_rights(root)
    return _document(accounts, roles, root)


def guests_rules(guests: Iterable[str], root: str = DEFAULT_ROOT) -> Json:
    """Return the rules of the guests' broker."""
    accounts = [f"{GUEST}.{guest}" for guest in guests]
    return _document(accounts, {GUEST: role_rights(GUEST, (), root)}, root)


def account_rules(client: str, root: str = DEFAULT_ROOT) -> tuple[Json, Json]:
    """Return an account and the role of its own, as they stand in the document and in commands to the plugin."""
    own = _role(f"own {client}", own_rights(client, root))
    return {"username": client, "roles": [{"rolename": role(client)}, {"rolename": own["rolename"]}]}, own


def _document(accounts: Iterable[str], roles: dict[str, Rights], root: str) -> Json:
    made = [account_rules(client, root) for client in sorted(accounts)]
    clients = [client for client, _ in made]
    roles = roles | {ADMIN: admin_rights(root)}
    clients += [{"username": name, "roles": [{"rolename": name}]} for name in (BRIDGE, GUARD, ADMIN) if name in roles]
    shared = [_role(kind, found) for kind, found in roles.items()]
    return {
        "defaultACLAccess": {
            "publishClientSend": False,
            "publishClientReceive": False,
            "subscribe": False,
            "unsubscribe": True,
        },
        "clients": clients,
        "groups": [],
        "roles": [*shared, *(own for _, own in made)],
    }


def _role(rolename: str, rights: Rights) -> Json:
    rules = [("publishClientSend", topic) for topic in rights.write]
    rules += [("publishClientReceive", topic) for topic in rights.read]
    rules += [("subscribeLiteral", topic) for topic in rights.subscribe]
    rules += [("subscribePattern", topic) for topic in rights.subscribe_within]
    return {"rolename": rolename, "acls": [{"acltype": kind, "topic": topic, "allow": True} for kind, topic in rules]}
