"""Starts a real Mosquitto from `broker-config/` with one account per client, for the lab, the benchmark and the tests.

The settings and access rules are the files of `broker-config/`, untouched. What differs per run (address, port, paths)
stands in a small file in the run's own directory that includes them.
"""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from ramshare.errors import MissingPartError, RamshareError
from ramshare.settings import BrokerSettings
from ramshare.topics import DEFAULT_ROOT, EVERYBODY, StateTopic

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
_TCP_LISTEN = "0A"


class BrokerStartError(RamshareError):
    """Mosquitto did not start, or did not listen in time."""


class BrokerRunner(Protocol):
    """The part of `linux.run.Runner` that is needed here (bus and linux do not import each other)."""

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> object:
        """Run to the end."""
        ...

    def spawn(
        self, argv: Sequence[str], *, log_path: Path | None = None, die_with_parent: bool = False
    ) -> "subprocess.Popen[str]":
        """Start and return at once."""
        ...


def config_dir() -> Path:
    """Return `broker-config/` of the checkout, or the copy that an installed package brings under `share/ramshare`."""
    places = (Path(__file__).parents[3] / "broker-config", Path(sys.prefix) / "share" / "ramshare" / "broker-config")
    for place in places:
        if (place / "acl").is_file():
            return place
    raise MissingPartError("the broker's configuration files are missing", f"expected in {places[0]} or {places[1]}")


@dataclass
class RunningBroker:
    """A Mosquitto of our own: where it listens, its accounts, and how to stop, kill and start it again."""

    runner: BrokerRunner
    directory: Path
    host: str
    port: int
    die_with_parent: bool = True
    process: "subprocess.Popen[str] | None" = field(default=None, repr=False)

    @property
    def log_path(self) -> Path:
        """Mosquitto's own log."""
        return self.directory / "mosquitto.log"

    def password_path(self, client: str) -> Path:
        """Return the file that holds the client's password."""
        return self.directory / "accounts" / client

    def settings(self, client: str, root: str = DEFAULT_ROOT) -> BrokerSettings:
        """Return what `MqttBus` needs to connect as `client`."""
        return BrokerSettings(
            broker_host=self.host,
            broker_port=self.port,
            client=client,
            password_file=self.password_path(client),
            root=root,
        )

    def start(self) -> None:
        """Start (again, on the same persisted state) and wait until it listens. Raises `BrokerStartError`.

        With `die_with_parent` the broker lives as long as the *thread* that calls this: the kernel counts threads.
        """
        argv = ["mosquitto", "-c", str(self.directory / "main.conf")]
        # What it prints before it opens its log file, for example a setting it does not know.
        out = self.directory / "mosquitto.out"
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
    extra_listeners: Sequence[tuple[str, int]] = (),
    passwords: Mapping[str, str] | None = None,
    die_with_parent: bool = True,
    overrides: Sequence[str] = (),
) -> RunningBroker:
    """Write configuration and accounts into `directory` and start Mosquitto there.

    `clients` get an account each, with a random password unless `passwords` has one. Port 0 takes a free one (of this
    process's network namespace). `overrides` are configuration lines for experiments.
    Raises `BrokerStartError`, `MissingPartError`, `BadTopicError` for a client's name.
    """
    directory.mkdir(parents=True, exist_ok=True)
    broker = RunningBroker(runner, directory, host, port or free_port(host), die_with_parent)
    _write_accounts(runner, broker, clients, passwords or {})
    listeners = [(host, broker.port), *extra_listeners]
    (directory / "main.conf").write_text(main_conf(directory, listeners, overrides=overrides))
    broker.start()
    return broker


def main_conf(directory: Path, listeners: Sequence[tuple[str, int]], *, overrides: Sequence[str] = ()) -> str:
    """Return the file that Mosquitto is started with: addresses and paths, then the settings of `broker-config/`."""
    shared = config_dir()
    lines = ["# Written by ramshare for one run; the settings proper are included at the end."]
    for host, port in listeners:
        lines += [f"listener {port} {host}", "use_username_as_clientid true"]
    if os.geteuid() == 0:
        # Without this Mosquitto becomes the user `mosquitto`, who cannot read a private directory.
        lines.append("user root")
    lines += [
        f"password_file {directory / 'passwords'}",
        f"acl_file {shared / 'acl'}",
        f"persistence_location {directory}/",
        f"log_dest file {directory / 'mosquitto.log'}",
        f"include_dir {shared}",
        *overrides,
    ]
    return "\n".join(lines) + "\n"


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _write_accounts(
    runner: BrokerRunner, broker: RunningBroker, clients: Iterable[str], passwords: Mapping[str, str]
) -> None:
    accounts = broker.directory / "accounts"
    accounts.mkdir(mode=0o700, exist_ok=True)
    lines = []
    for client in sorted(set(clients)):
        StateTopic(client, "status")  # raises BadTopicError for a name that the rules cannot carry
        if client == EVERYBODY:
            raise BrokerStartError(f"no account may be named {EVERYBODY}", "it is the address of broadcasts")
        password = passwords.get(client) or secrets.token_urlsafe(24)
        with _private(broker.password_path(client)) as file:
            file.write(password + "\n")
        lines.append(f"{client}:{password}\n")
    hashed = broker.directory / "passwords"
    with _private(hashed) as file:
        file.writelines(lines)
    # -U hashes a file of clear passwords in place, so that none is ever on a command line.
    runner.run(["mosquitto_passwd", "-U", str(hashed)])


def _private(path: Path) -> IO[str]:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")


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
