"""What the plugin of a running broker must be told, so that it goes by a new rules document. Pure."""

from typing import Any

Json = dict[str, Any]


def changes(old: Json, new: Json) -> list[Json]:
    """Return commands to the dynamic-security plugin: what goes first, then what is new.

    An account that is deleted loses its connection.
    """
    old_roles, new_roles = _by(old, "roles", "rolename"), _by(new, "roles", "rolename")
    old_clients, new_clients = _by(old, "clients", "username"), _by(new, "clients", "username")
    commands = [_command("deleteClient", username=name) for name in old_clients.keys() - new_clients.keys()]
    commands += [_command("deleteRole", rolename=name) for name in old_roles.keys() - new_roles.keys()]
    for name in old_roles.keys() & new_roles.keys():
        before, after = _rules(old_roles[name]), _rules(new_roles[name])
        commands += [
            _command("removeRoleACL", rolename=name, acltype=kind, topic=topic) for kind, topic in before - after
        ]
        commands += [
            _command("addRoleACL", rolename=name, acltype=kind, topic=topic, allow=True)
            for kind, topic in after - before
        ]
    commands += [{"command": "createRole", **new_roles[name]} for name in new_roles.keys() - old_roles.keys()]
    commands += [{"command": "createClient", **new_clients[name]} for name in new_clients.keys() - old_clients.keys()]
    return commands


def _by(document: Json, what: str, key: str) -> dict[str, Json]:
    return {str(entry[key]): entry for entry in document[what]}


def _rules(role: Json) -> set[tuple[str, str]]:
    return {(str(rule["acltype"]), str(rule["topic"])) for rule in role["acls"]}


def _command(name: str, **fields: object) -> Json:
    return {"command": name, **fields}
