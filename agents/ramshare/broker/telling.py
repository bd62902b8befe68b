"""Has running brokers go by a new set: they are started again, and what a revoked account had stored is cleared.

Started again, not told: of Mosquitto 2.0.11's plugin a change to a role while it runs ended the broker (measured: three
lenders, one guest more). It takes a second; agents connect again and say all they had said.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from ramshare.broker import pki
from ramshare.broker.cluster import Cluster
from ramshare.broker.files import GUESTS, HOSTS
from ramshare.broker.rights import GUEST
from ramshare.broker.rules import ADMIN
from ramshare.broker.store import Files
from ramshare.errors import RamshareError
from ramshare.settings import BrokerSettings
from ramshare.topics import role

_MINUTES = timedelta(minutes=15)
"""Life of the certificate with which a command speaks to a broker; it is stored nowhere."""
BACK_WITHIN_S = 10.0
_POLL_S = 0.25


class Brokers(Protocol):
    """What a command does to the two brokers that run on this machine."""

    def restart(self, which: str) -> str:
        """Start a broker again if it runs; return what went wrong, or nothing."""
        ...

    def clear_state(self, settings: BrokerSettings, client: str) -> list[str]:
        """Clear what an account had stored; return the topics."""
        ...


def clear(
    brokers: Brokers, cluster: Cluster, files: Files, client: str, now: datetime, within_s: float = BACK_WITHIN_S
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Clear an account's state, a guest's on both brokers. Return what was cleared, and what went wrong."""
    cleared: list[str] = []
    problems: list[str] = []
    for which in (GUESTS, HOSTS) if role(client) == GUEST else (HOSTS,):
        try:
            with account(cluster, files, which, now, ADMIN) as settings:
                topics = _patiently(lambda s=settings: brokers.clear_state(s, client), within_s)  # type: ignore[misc]
            cleared += [f"cleared on the {which}' broker: {topic}" for topic in topics]
        except RamshareError as error:
            again = f"when it runs again: ramshare broker revoke {client}"
            problems.append(f"the {which}' broker keeps what {client} had stored ({error.message}); {again}")
    return tuple(cleared), tuple(problems)


@contextmanager
def account(cluster: Cluster, files: Files, which: str, now: datetime, name: str) -> Iterator[BrokerSettings]:
    """Make a certificate for one of our own accounts, for the time of the block."""
    hosts = which == HOSTS
    authority = pki.Pair(files[f"ca/{which}.crt"], files[f"ca/{which}.key"])
    with tempfile.TemporaryDirectory(prefix="ramshare-") as place:
        pair = pki.new_client(authority, name, now, _MINUTES)
        for file, content in {"ca.crt": authority.cert, f"{name}.crt": pair.cert, f"{name}.key": pair.key}.items():
            _write_private(Path(place) / file, content)
        yield BrokerSettings(
            broker_host=cluster.addresses[0] if hosts else cluster.guests_addresses[0],
            broker_port=cluster.port if hosts else cluster.guests_port,
            client=name,
            tls_directory=Path(place),
            root=cluster.root,
        )


def _patiently(do: Callable[[], list[str]], within_s: float) -> list[str]:
    """Try again for a while: a broker that was started again takes a moment."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return do()
        except RamshareError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
