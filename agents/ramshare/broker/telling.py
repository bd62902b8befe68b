"""Tells running brokers of a new set: rules, revocations, and that an account is gone. The files are written before."""

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from ramshare.broker import pki
from ramshare.broker.changes import changes
from ramshare.broker.cluster import Cluster
from ramshare.broker.files import GUESTS, HOSTS
from ramshare.broker.rights import GUEST
from ramshare.broker.rules import ADMIN, guests_rules, hosts_rules
from ramshare.broker.store import Files
from ramshare.errors import RamshareError
from ramshare.settings import BrokerSettings
from ramshare.topics import role

_MINUTES = timedelta(minutes=15)
"""Life of the certificates with which a command speaks to a broker."""


class Brokers(Protocol):
    """What a command does to running brokers; `bus.admin` is the real one."""

    def send_commands(self, settings: BrokerSettings, commands: Sequence[dict[str, Any]]) -> None:
        """Give the plugin commands."""
        ...

    def take_over(self, settings: BrokerSettings) -> None:
        """End the connection of an account."""
        ...

    def clear_state(self, settings: BrokerSettings, client: str) -> list[str]:
        """Clear what an account had stored."""
        ...


class Telling:
    """Tells the running brokers of a new set."""

    def __init__(self, cluster: Cluster, files: Files, now: datetime, brokers: Brokers) -> None:
        self._cluster, self._files, self._now = cluster, files, now
        self._brokers = brokers
        self.cleared: tuple[str, ...] = ()

    def rules(self, before: Cluster) -> tuple[str, ...]:
        """Have both go by the new rules; return what went wrong."""
        root, after = before.root, self._cluster
        documents = {
            HOSTS: (hosts_rules(before.accounts, before.guests, root), hosts_rules(after.accounts, after.guests, root)),
            GUESTS: (guests_rules(before.guests, root), guests_rules(after.guests, root)),
        }
        return tuple(
            problem
            for which, (old, new) in documents.items()
            if (commands := changes(old, new))
            for problem in self._try(which, ADMIN, lambda s, c=commands: self._brokers.send_commands(s, c))  # type: ignore[misc]
        )

    def end(self, client: str) -> tuple[str, ...]:
        """End the account's connection, so that no last will comes after its state is cleared."""
        which = GUESTS if role(client) == GUEST else HOSTS
        return self._try(which, client, self._brokers.take_over)

    def clear(self, client: str) -> tuple[str, ...]:
        """Clear what the account had stored, a guest's on both brokers."""
        problems: tuple[str, ...] = ()
        for which in (GUESTS, HOSTS) if role(client) == GUEST else (HOSTS,):
            found: list[str] = []
            problems += self._try(which, ADMIN, lambda s, f=found: f.extend(self._brokers.clear_state(s, client)))  # type: ignore[misc]
            self.cleared += tuple(f"cleared on the {which}' broker: {topic}" for topic in found)
        return problems

    def reload(self) -> tuple[str, ...]:
        """Have the brokers read certificates and revocations again."""
        problems = []
        for which in (HOSTS, GUESTS):
            if not _signal(Path(self._cluster.data) / f"ramshare-{which}.pid"):
                problems.append(f"the {which}' broker does not run here: systemctl reload ramshare-broker@{which}")
        return tuple(problems)

    def _try(self, which: str, account: str, do: Callable[[BrokerSettings], None]) -> tuple[str, ...]:
        cluster = self._cluster
        addresses, port = (
            (cluster.addresses, cluster.port) if which == HOSTS else (cluster.guests_addresses, cluster.guests_port)
        )
        authority = pki.Pair(self._files[f"ca/{which}.crt"], self._files[f"ca/{which}.key"])
        with tempfile.TemporaryDirectory(prefix="ramshare-") as place:
            pair = pki.new_client(authority, account, self._now, _MINUTES)
            for file, content in (
                ("ca.crt", authority.cert),
                (f"{account}.crt", pair.cert),
                (f"{account}.key", pair.key),
            ):
                _write_private(Path(place) / file, content)
            settings = BrokerSettings(
                broker_host=addresses[0],
                broker_port=port,
                client=account,
                tls_directory=Path(place),
                root=cluster.root,
            )
            try:
                do(settings)
            except RamshareError as error:
                return (
                    f"the {which}' broker was not told ({error.message}): systemctl restart ramshare-broker@{which}",
                )
        return ()


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _signal(pid_file: Path) -> bool:
    """Have the Mosquitto of a pid file read its files again; return whether there is one."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() == "mosquitto":
            os.kill(pid, signal.SIGHUP)
            return True
    return False
