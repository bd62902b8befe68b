"""Starts the secure set for the lab, the benchmark and the tests: what `ramshare broker init` writes, in a directory.

Two Mosquittos, the hosts' and, if there are guests, theirs, with TLS, certificates and rules as on a real cluster. What
differs per run: address, ports, and that they run as whoever starts them.
"""

import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Protocol

from ramshare.broker.cluster import Cluster, bundle_of, check_account
from ramshare.broker.conf import Place
from ramshare.broker.files import BUNDLES, GUESTS, HOSTS, make_files
from ramshare.broker.rights import GUEST, Rights
from ramshare.broker.rules import NONE
from ramshare.broker.size import Size
from ramshare.broker.store import Store
from ramshare.errors import RamshareError
from ramshare.settings import BrokerSettings
from ramshare.topics import DEFAULT_ROOT, name, role

NO_SIZE = Size()
"""As large as who has an account."""
START_TIMEOUT_S = 30.0
"""Reading its database and the rules of ten thousand accounts takes seconds."""
STOP_TIMEOUT_S = 5.0
_TCP_LISTEN = "0A"


class BrokerStartError(RamshareError):
    """Mosquitto did not start, or did not listen in time."""


class BrokerRunner(Protocol):
    """The part of `linux.run.Runner` that is needed here (bus and linux do not import each other)."""

    def spawn(
        self, argv: Sequence[str], *, log_path: Path | None = None, die_with_parent: bool = False
    ) -> "subprocess.Popen[str]":
        """Start and return at once."""
        ...


@dataclass
class RunningBroker:
    """A Mosquitto of our own: where it listens, its accounts, and how to stop, kill and start it again.

    The hosts' broker brings the guests' along, in `guests`; `stop`, `kill` and `start` are for one alone.
    """

    runner: BrokerRunner
    directory: Path
    host: str
    port: int
    cluster: Cluster
    which: str = HOSTS
    die_with_parent: bool = True
    guests: "RunningBroker | None" = None
    process: "subprocess.Popen[str] | None" = field(default=None, repr=False)

    @property
    def store(self) -> Store:
        """The set's files."""
        return set_store(self.directory)

    @property
    def log_path(self) -> Path:
        """Mosquitto's own log."""
        return log_path(self.directory, self.which)

    def tls_directory(self, client: str) -> Path:
        """Return where the client's certificate is, with those of its bundle."""
        return tls_directory(self.directory, client, self.cluster.accounts)

    def settings(self, client: str, root: str = DEFAULT_ROOT) -> BrokerSettings:
        """Return what `MqttBus` needs to connect as `client`."""
        of_guests = role(client) == GUEST and self.which == HOSTS
        return BrokerSettings(
            broker_host=self.host,
            broker_port=self.cluster.guests_port if of_guests else self.port,
            client=client,
            tls_directory=self.tls_directory(client),
            root=root,
        )

    def start(self) -> None:
        """Start (again, on the same persisted state) and wait until it listens. Raises `BrokerStartError`.

        With `die_with_parent` the broker lives as long as the *thread* that calls this: the kernel counts threads.
        """
        argv = ["mosquitto", "-c", str(self.store.current / self.which / "mosquitto.conf")]
        if os.geteuid() == 0:
            size = self.cluster.size
            bounds = size.hosts_broker if self.which == HOSTS else size.guests_broker
            allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # a container may have been given less
            argv = ["prlimit", f"--nofile={min(bounds.descriptors, allowed)}", *argv]
        # What it prints before it opens its log file, for example a setting it does not know.
        out = self.log_path.with_suffix(".out")
        self.process = self.runner.spawn(argv, log_path=out, die_with_parent=self.die_with_parent)
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.port not in listening_ports(self.process.pid):
            if self.process.poll() is not None:
                raise BrokerStartError(f"mosquitto ended at once: {self._last_error(out)}", f"read {self.log_path}")
            if time.monotonic() > deadline:
                self.kill()
                raise BrokerStartError(f"mosquitto does not listen on port {self.port}", f"read {self.log_path}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order (it saves its state); kill it if it does not. Idempotent."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """End it like a crash: nothing is saved. Idempotent."""
        self._end(subprocess.Popen.kill)

    def _last_error(self, out: Path) -> str:
        lines = [line for path in (out, self.log_path) if path.exists() for line in path.read_text().splitlines()]
        errors = [line.partition("Error: ")[2] for line in lines if "Error: " in line]
        return (errors or lines or ["it said nothing"])[-1]

    def _end(self, how: "_Ender") -> None:
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        how(process)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)

    def __enter__(self) -> "RunningBroker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End both brokers."""
        if self.guests is not None:
            self.guests.stop()
        self.stop()


class _Ender(Protocol):
    def __call__(self, process: "subprocess.Popen[str]", /) -> None: ...


def start_broker(
    runner: BrokerRunner,
    directory: Path,
    clients: Iterable[str],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    guests_port: int = 0,
    die_with_parent: bool = True,
    overrides: Sequence[str] = (),
    everybody: Rights = NONE,
    size: Size = NO_SIZE,
) -> RunningBroker:
    """Make a set for `clients` in `directory` and start Mosquitto there; a second one if there are guests among them.

    Port 0 takes a free one (of this process's network namespace). `overrides` are configuration lines for experiments,
    `everybody` is what each account may do besides; `size` what the brokers are made for, if more than `clients`.
    Raises `BrokerStartError`, `AccountError` for a client's name.
    """
    known = sorted({check_account(client) for client in clients})
    cluster = Cluster(
        accounts=tuple(client for client in known if role(client) != GUEST),
        guests=tuple(name(client) for client in known if role(client) == GUEST),
        addresses=(host,),
        guests_addresses=(host,),
        port=port or free_port(host),
        guests_port=guests_port or free_port(host),
        data=str(directory),
        for_hosts=size.hosts,
        for_guests=size.guests,
    )
    directory.mkdir(parents=True, exist_ok=True)
    write_set(directory, cluster, tuple(overrides), everybody)
    broker = RunningBroker(runner, directory, host, cluster.port, cluster, die_with_parent=die_with_parent)
    broker.start()
    if cluster.guests:
        broker.guests = replace(broker, which=GUESTS, port=cluster.guests_port, process=None)
        try:
            broker.guests.start()
        except BaseException:
            broker.stop()
            raise
    return broker


def write_set(directory: Path, cluster: Cluster, overrides: tuple[str, ...] = (), everybody: Rights = NONE) -> None:
    """Write a whole set, or a new one with the old certificates: what `ramshare broker` does, for one run."""
    store = set_store(directory)

    def tune(place: Place) -> Place:
        log = f"file {log_path(directory, place.directory.name)}"
        return replace(place, address=cluster.addresses[0], log=log)

    old = store.load()[1] if store.exists else None
    seen_at = PurePosixPath(store.current)
    now = datetime.now(UTC)
    files = make_files(cluster, seen_at, now, old, tune=tune, more=overrides, everybody=everybody)
    store.replace(cluster, files)


def set_store(directory: Path) -> Store:
    """Return where the set of a run in `directory` is."""
    return Store(directory / "set", durable=False)


def log_path(directory: Path, which: str) -> Path:
    """Return the log of one of the two brokers."""
    return directory / f"{'mosquitto' if which == HOSTS else which}.log"


def tls_directory(directory: Path, client: str, accounts: tuple[str, ...] = ()) -> Path:
    """Return where a client's certificate is in a run's set."""
    return set_store(directory).current / BUNDLES / bundle_of(client, accounts) / "tls"


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def listening_ports(pid: int) -> set[int]:
    """Return the TCP ports that a process listens on, in its own network namespace and without a connection."""
    try:
        own = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        rows = [r for table in ("tcp", "tcp6") for r in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]]
    except OSError:
        return set()
    sockets = [row.split() for row in rows]
    return {
        int(columns[1].rpartition(":")[2], 16)
        for columns in sockets
        if columns[3] == _TCP_LISTEN and f"socket:[{columns[9]}]" in own
    }
