"""The options before the command, merged with the settings: which broker, as whom. Used by every command.

A host's settings file names the host's *agent*. A command must not connect under that name: the broker holds one
connection for each, and the command would throw the agent out. So the name of an agent is never taken over from there.
"""

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from pydantic import TypeAdapter, ValidationError

from ramshare.bus.api import Bus
from ramshare.cli.output import UsageError, note
from ramshare.errors import RamshareError
from ramshare.messages.base import ClientName
from ramshare.settings import BrokerSettings, default_operator, load
from ramshare.topics import Root, role

if TYPE_CHECKING:
    from ramshare.doctor import Patient

OpenBus = Callable[[BrokerSettings, str], Bus]
AGENT_ROLES = frozenset({"guest", "monitor", "lender", "borrower", "manager"})
_BROKER = re.compile(r"^(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[a-zA-Z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?$")
_CLIENT: TypeAdapter[str] = TypeAdapter(ClientName)


def open_mqtt(settings: BrokerSettings, client: str) -> Bus:
    """Return a bus on the real broker; imported late, for commands that need none."""
    from ramshare.bus.mqtt import MqttBus
    from ramshare.bus.tls import RENEW, Certificate, expiry_warning

    if not settings.broker_insecure:
        with suppress(RamshareError):  # what is wrong with it is told by who connects
            if warning := expiry_warning(Certificate.read(settings.cert_file), utc_now()):
                note(f"! {warning}: {RENEW}")
    return MqttBus(settings, client)


def utc_now() -> datetime:
    """Return the time that messages are stamped with."""
    return datetime.now(UTC)


def this_machine(role: str) -> "Patient":
    """Return this machine as `doctor` looks at it; imported late, for the one command that does."""
    from ramshare.launch import patient_of

    return patient_of(role)


@dataclass(frozen=True)
class Outside:
    """What a command meets outside its arguments: the broker, time, the machine. Tests give their own."""

    open_bus: OpenBus = open_mqtt
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep
    patient: Callable[[str], "Patient"] = this_machine


@dataclass
class Options:
    """What stood before the command."""

    broker: str | None = None
    tls_directory: Path | None = None
    client: str | None = None
    root: str | None = None
    insecure: bool = False
    password_file: Path | None = None
    outside: Outside = Outside()
    as_json: bool = False
    """Set by a command that was asked for JSON, so that its errors are JSON too."""

    def settings(self) -> BrokerSettings:
        """Return the settings to connect with, `client` filled in. Raises `SettingsError` or `UsageError`."""
        found = load(BrokerSettings)
        known = self.client or found.client
        if known is not None and role(known) in AGENT_ROLES:
            if self.client:
                raise UsageError(
                    f"{self.client} is an agent's name; a command under it would throw the agent out",
                    "use a name such as cli.alice",
                )
            known, found = None, found.model_copy(update={"password_file": None})
        found = found.model_copy(update={"broker_insecure": self.insecure or found.broker_insecure})
        client = known or operator()
        try:
            _CLIENT.validate_python(client)
        except ValidationError as error:
            raise UsageError(f"{client[:80]!r} is not a client name", "use role.name, for example cli.alice") from error
        chosen: dict[str, object] = {"client": client}
        if self.broker is not None:
            chosen["broker_host"], chosen["broker_port"] = parse_broker(self.broker)
            chosen["broker_hosts"] = ()
        if self.root is not None:
            chosen["root"] = Root.of(self.root).name
        if found.broker_insecure:
            chosen["password_file"] = password_path(self.password_file or found.password_file, client)
        elif self.password_file is not None:
            raise UsageError(
                "--password-file is for a broker without TLS", "accounts have certificates (--tls); or add --insecure"
            )
        else:
            chosen["tls_directory"] = tls_path(self.tls_directory, found.tls_directory, client)
        return found.model_copy(update=chosen)

    def accounts(self) -> list[BrokerSettings]:
        """Return `settings`, then the same person's further accounts in the same directory."""
        first = self.settings()
        path, suffix = (first.password_file, "") if first.broker_insecure else (first.cert_file, ".crt")
        if self.client or path is None or path.name != f"{first.client}{suffix}":
            return [first]
        names = [other.name.removesuffix(suffix) for other in sorted(path.parent.glob(f"{first.client}-*{suffix}"))]
        password = (lambda name: path.parent / name) if first.broker_insecure else (lambda _name: None)
        return [
            first,
            *(first.model_copy(update={"client": name, "password_file": password(name)}) for name in names),
        ]

    def environment(self) -> dict[str, str]:
        """Return this process's environment with the options as `RAMSHARE_…`, for an agent that is started."""
        environment = dict(os.environ)
        if self.broker is not None:
            host, port = parse_broker(self.broker)
            environment |= {"RAMSHARE_BROKER_HOST": host, "RAMSHARE_BROKER_HOSTS": ""}
            environment |= {} if port is None else {"RAMSHARE_BROKER_PORT": str(port)}
        given = {
            "TLS_DIRECTORY": self.tls_directory,
            "CLIENT": self.client,
            "ROOT": self.root,
            "BROKER_INSECURE": "1" if self.insecure else None,
            "PASSWORD_FILE": self.password_file,
        }
        return environment | {f"RAMSHARE_{key}": str(value) for key, value in given.items() if value is not None}


def of(ctx: typer.Context, *, as_json: bool = False) -> Options:
    """Return the options of a command, noting whether it answers in JSON."""
    options = ctx.find_object(Options)
    if options is None:
        options = Options()
    options.as_json = as_json
    return options


def operator() -> str:
    """Return `cli.<user>`, with what a topic cannot carry replaced."""
    first, _, user = default_operator().partition(".")
    return f"{first}.{re.sub(r'[^a-zA-Z0-9_-]', '-', user).lstrip('_-')[:63] or 'operator'}"


def parse_broker(text: str) -> tuple[str, int | None]:
    """Return host and port of `HOST`, `HOST:PORT` or `[IPV6]:PORT`; no port: the usual one. Raises `UsageError`."""
    found = _BROKER.match(text.strip())
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and not 1 <= port <= 65535):
        raise UsageError(f"{text[:80]!r} is not a broker's address", "use HOST:PORT, for example 10.0.0.5:8883")
    return found["v6"] or found["host"], port


def tls_path(given: Path | None, known: Path, client: str) -> Path:
    """Return the directory of certificates: the one given, the user's own if the client is in it, or the machine's."""
    if given is not None:
        return given
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "ramshare" / "tls"
    return home if (home / f"{client}.crt").is_file() else known


def password_path(given: Path | None, client: str) -> Path | None:
    """Return the password's file: the one given, the client's in a given directory, or the one in the user's home."""
    if given is not None:
        return given / client if given.is_dir() else given
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "ramshare"
    for candidate in (home / "accounts" / client, home / "password"):
        if candidate.is_file():
            return candidate
    return None
