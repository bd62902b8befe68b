"""Configuration of agents and commands: environment variables `RAMSHARE_…`, or a file of them.

A service reads `/etc/ramshare/ramshare.env`; `RAMSHARE_ENV_FILE` names another.
The password is read from a file, so that it is neither in the environment nor on a command line.
Plain pydantic: pydantic-settings would cost a monitor in every guest 3 MB (asyncio and a command line parser with it).
"""

import contextlib
import getpass
import json
import os
import re
import socket
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from ramshare.errors import ExitCode, RamshareError
from ramshare.messages.base import (
    LEAST_LEASE_BYTES,
    Bytes,
    ClientName,
    Count,
    HostName,
    Portal,
    PositiveBytes,
    Seconds,
    VolumeName,
)
from ramshare.messages.sizes import parse_size
from ramshare.messages.state import Mode
from ramshare.topics import server_name

TLS_PORT, PLAIN_PORT = 8883, 1883
DEFAULT_ENV_FILE = "/etc/ramshare/ramshare.env"
_LINE = re.compile(
    r"""\s*(?:export\s+)?(?P<name>\w+)\s*=\s*(?:'(?P<one>[^']*)'|"(?P<two>[^"]*)"|(?P<bare>.*?))\s*(?:\s#.*)?"""
)
"""`NAME=value` as systemd and shells write it: quotes are taken off, a comment may follow."""

S = TypeVar("S", bound="Settings")


class SettingsError(RamshareError):
    """A setting has a value that cannot be used."""

    exit_code = ExitCode.USAGE


def _env_file() -> str:
    return os.environ.get("RAMSHARE_ENV_FILE", DEFAULT_ENV_FILE)


GUESTS_FORM = 'write {"web1": "2GiB", "web2": "512MiB"} or web1:2GiB,web2:512MiB'
LEAST_GUEST_BYTES = 1 << 20
"""What is smaller is no size of a guest in bytes, but one in another unit."""


def _guests(value: object) -> object:
    """Return name to size, None for one that is not told, from any of the forms in which guests are written."""
    if isinstance(value, str):
        value = _written_guests(value.strip())
    if isinstance(value, list | tuple):
        pairs = [str(entry).partition(":") if isinstance(entry, str) else ("", "", "") for entry in value]
        named = [(name.strip(), size.strip() if colon else None) for name, colon, size in pairs]
        if len({name for name, _ in named}) < len(named):
            raise ValueError("a guest is named twice")
        value = dict(named)
    if not isinstance(value, Mapping):
        raise ValueError(GUESTS_FORM)
    return {name: _guest_size(size) for name, size in value.items()}


def _written_guests(text: str) -> object:
    """Return what a setting's text says: JSON, or `name:size` pairs with commas between."""
    if text[:1] not in ("{", "["):
        pairs = [pair for pair in text.split(",") if pair.strip()]
        if not all(":" in pair for pair in pairs):
            raise ValueError(f"say how large each is: {GUESTS_FORM}")
        return pairs
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON: {GUESTS_FORM}") from None


def _guest_size(size: object) -> int | None:
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise ValueError(f"a size is bytes, or text as 2GiB: {GUESTS_FORM}")
    size_bytes = parse_size(size) if isinstance(size, str) else size
    if size_bytes < LEAST_GUEST_BYTES:
        raise ValueError(f"a guest of {size_bytes} bytes is none: {GUESTS_FORM}")
    return size_bytes


class AllowedVolume(NamedTuple):
    """What a borrower may do for a volume by itself."""

    mode: Mode
    most_bytes: int | None = None
    """How much of it at most is borrowed for; None for all."""


AUTO_FORM = "write VG/LV=MODE or VG/LV=MODE:SIZE with commas between, for example vg0/swap=move:2GiB,vg0/web1=mirror"
_VOLUME_NAME: TypeAdapter[str] = TypeAdapter(VolumeName)


def _allowed_volumes(value: object) -> object:
    """Return volume to what is allowed, from text; what is not text passes."""
    if not isinstance(value, str):
        return value
    allowed: dict[str, AllowedVolume] = {}
    for entry in filter(None, (part.strip() for part in value.split(","))):
        volume, equals, rest = (part.strip() for part in entry.partition("="))
        mode, colon, size = (part.strip() for part in rest.partition(":"))
        if not equals or mode not in set(Mode):
            raise ValueError(f"{entry[:80]!r} says no mode, mirror, pair or move: {AUTO_FORM}")
        try:
            _VOLUME_NAME.validate_python(volume)
        except ValidationError:
            raise ValueError(f"{volume[:80]!r} is no volume as lvs shows it: {AUTO_FORM}") from None
        if volume in allowed:
            raise ValueError(f"{volume} is named twice")
        most_bytes = parse_size(size) if colon else None
        if most_bytes is not None and most_bytes < LEAST_GUEST_BYTES:
            raise ValueError(f"{entry[:80]!r}: {most_bytes} bytes are less than a lease: {AUTO_FORM}")
        allowed[volume] = AllowedVolume(Mode(mode), most_bytes)
    return allowed


class GuestAllowance(NamedTuple):
    """What a guest's administrator may have done for the guest's own swap."""

    volume: str
    mode: Mode
    most_bytes: int | None = None
    """How much of it at most is borrowed for; None for all."""


GUEST_FORM = "write GUEST=VG/LV:MODE or GUEST=VG/LV:MODE:SIZE with commas between, for example web1=vg0/swap:move:2GiB"
_GUEST_NAME: TypeAdapter[str] = TypeAdapter(HostName)


def _guest_allowances(value: object) -> object:
    """Return guest to what it may ask for, from text; what is not text passes."""
    if not isinstance(value, str):
        return value
    allowed: dict[str, GuestAllowance] = {}
    for entry in filter(None, (part.strip() for part in value.split(","))):
        guest, equals, rest = (part.strip() for part in entry.partition("="))
        volume, colon, terms = (part.strip() for part in rest.partition(":"))
        if not equals or not colon:
            raise ValueError(f"{entry[:80]!r} says no volume and mode: {GUEST_FORM}")
        try:
            _GUEST_NAME.validate_python(guest)
        except ValidationError:
            raise ValueError(f"{guest[:80]!r} is no guest's name: {GUEST_FORM}") from None
        if guest in allowed:
            raise ValueError(f"{guest} is named twice; a guest has one swap volume")
        if volume in {other.volume for other in allowed.values()}:
            raise ValueError(f"{volume} is named for two guests; swap of two on one disk destroys both")
        terms_of = _allowed_volumes(f"{volume}={terms}")
        assert isinstance(terms_of, dict)
        if not terms_of:
            raise ValueError(f"{entry[:80]!r} says no volume and mode: {GUEST_FORM}")
        mode, most_bytes = terms_of[volume]
        allowed[guest] = GuestAllowance(volume, mode, most_bytes)
    return allowed


_ADDRESS = re.compile(r"(\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:,\[\]]+))(:(?P<port>\d{1,5}))?")


def _brokers(value: object) -> object:
    """Return every broker of a list as it is written: `10.0.0.5,10.0.0.6:8884,[fd00::6]:8883`."""
    found = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    for broker in found if isinstance(found, list | tuple) else ():
        _host_and_port(broker)
    return tuple(found) if isinstance(found, list | tuple) else found


def _host_and_port(broker: str) -> tuple[str, int | None]:
    match = _ADDRESS.fullmatch(broker)
    if match is None or not 1 <= int(match["port"] or 1) <= 65535:
        raise ValueError(f"{broker[:80]!r} is no broker's address: write HOST or HOST:PORT, with commas between")
    return match["v6"] or match["host"], int(match["port"]) if match["port"] else None


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or path == Path("/"):
        raise ValueError("write the whole path of a directory, beginning with / (an agent starts anywhere)")
    return path


Directory = Annotated[Path, AfterValidator(_absolute)]
AllowedVolumes = Annotated[Mapping[VolumeName, AllowedVolume], BeforeValidator(_allowed_volumes)]
GuestAllowances = Annotated[Mapping[HostName, GuestAllowance], BeforeValidator(_guest_allowances)]
Guests = Annotated[Mapping[HostName, PositiveBytes | None], BeforeValidator(_guests)]
"""Guests by name, with what each has; None: nobody told."""


class ModeChoice(StrEnum):
    """How to attach: a mode, or `auto`: by pair where two sets of lenders can be had, else by mirror."""

    AUTO = "auto"
    MIRROR = "mirror"
    PAIR = "pair"
    MOVE = "move"

    @property
    def mode(self) -> Mode | None:
        """The mode; None for whichever of pair and mirror can be had."""
        return None if self is ModeChoice.AUTO else Mode(self.value)


class Settings(BaseModel):
    """Settings of one kind; `load` reads them, the constructor takes what it is given only."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    PREFIX: ClassVar[str] = "RAMSHARE_"
    """What the name of each variable begins with; the field's name in upper case follows."""


class BrokerSettings(Settings):
    """Where the broker is and who we are."""

    broker_host: str = Field(default="127.0.0.1", min_length=1, description="Name or address of the Mosquitto broker.")
    broker_port: int | None = Field(
        default=None, ge=1, le=65535, description="By default 8883, without TLS 1883. The guests' broker: 8884."
    )
    broker_hosts: Annotated[tuple[str, ...], BeforeValidator(_brokers)] = Field(
        default=(),
        max_length=16,
        description="Several brokers, tried in this order: 10.0.0.5,10.0.0.6:8885; goes "
        "before RAMSHARE_BROKER_HOST. An agent that is at a later one goes back when an earlier one is there again.",
    )
    broker_insecure: bool = Field(
        default=False, description="Plain TCP, with a password if there is one: only where nobody else can listen."
    )
    tls_directory: Path = Field(
        default=Path("/etc/ramshare/tls"),
        description="Holds ca.crt, CLIENT.crt and CLIENT.key, as `ramshare broker init` makes them.",
    )
    client: ClientName | None = Field(default=None, description="Name of the account; by default `role.host`.")
    password_file: Path | None = Field(
        default=None, description="File with the MQTT password, mode 0600; with RAMSHARE_BROKER_INSECURE only."
    )
    root: str = Field(default="ramshare", description="First part of every topic.")
    keepalive_s: int = Field(default=15, ge=5, le=600)
    announce_interval_s: Seconds = Field(default=60.0, description="Heartbeat: `status` is published again this often.")

    @model_validator(mode="before")
    @classmethod
    def _begin_with_the_first(cls, given: Any) -> Any:
        """The first of several brokers is the one that is meant where only one can be."""
        with contextlib.suppress(ValueError):  # the field itself is refused then, by name
            found = _brokers(given.get("broker_hosts", ()))
            if found and isinstance(found, tuple | list):
                return {**given, "broker_host": _host_and_port(found[0])[0]}
        return given

    @property
    def brokers(self) -> tuple["BrokerSettings", ...]:
        """The settings of each broker alone, in the order in which they are tried."""
        if not self.broker_hosts:
            return (self,)
        places = [_host_and_port(broker) for broker in self.broker_hosts]
        return tuple(
            self.model_copy(update={"broker_hosts": (), "broker_host": host, "broker_port": port or self.broker_port})
            for host, port in places
        )

    @property
    def port(self) -> int:
        """The broker's port."""
        return self.broker_port or (PLAIN_PORT if self.broker_insecure else TLS_PORT)

    @property
    def broker(self) -> str:
        """The broker's address, or all of them, for people."""
        return ", ".join(f"{one.broker_host}:{one.port}" for one in self.brokers)

    @property
    def ca_file(self) -> Path:
        """The authority that signed the broker's certificate."""
        return self.tls_directory / "ca.crt"

    @property
    def cert_file(self) -> Path:
        """This client's certificate; of several managers each has its own, under one name."""
        return self.tls_directory / f"{server_name(self.client or '')}.crt"

    @property
    def key_file(self) -> Path:
        """The key of `cert_file`, a secret."""
        return self.tls_directory / f"{server_name(self.client or '')}.key"

    @property
    def password(self) -> SecretStr | None:
        """The password, read anew each time. Raises `SettingsError` if the file cannot be read."""
        if self.password_file is None:
            return None
        try:
            return SecretStr(self.password_file.read_text().strip())
        except OSError as error:
            raise SettingsError(f"cannot read the password file {self.password_file}: {error.strerror}") from error
        except UnicodeDecodeError:
            # Without its cause, which holds the password.
            raise SettingsError(f"cannot read the password file {self.password_file}: it is not UTF-8") from None


class HostSettings(Settings):
    """What every agent on a machine shares."""

    host: HostName = Field(
        default_factory=lambda: socket.gethostname().partition(".")[0],
        validate_default=True,
        description="This machine's name in the cluster, with or without its domain; by default without.",
    )
    guest_socket: Path = Field(
        default=Path("/run/ramshare-monitor/ask"),
        description="In a guest: where `ramshare borrow` finds the monitor, which asks the host for it.",
    )
    sample_interval_s: Seconds = Field(default=5.0, description="Time between two memory reports.")
    log_level: str = "INFO"
    metrics_listen: Annotated[Portal | None, BeforeValidator(_none_if_empty)] = Field(
        default=None,
        description="Serve Prometheus metrics here, for example 127.0.0.1:9390, to whoever can reach it; empty: do "
        "not. A manager takes this port, a lender the next one, a borrower the one after, a monitor the third after.",
    )

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("use DEBUG, INFO, WARNING or ERROR")
        return value.upper()


class LenderSettings(Settings):
    """What a host lends and where it keeps it."""

    PREFIX: ClassVar[str] = "RAMSHARE_LENDER_"

    address: str = Field(
        default="",
        description="This host's address that borrowers log in to, and the only one that is served; by default the "
        "route's own. IPv4, IPv6, or a name of exactly one address.",
    )
    port: int = Field(default=3260, ge=1, le=65535)
    target: Literal["tgt", "lio"] = Field(
        default="tgt",
        description="What serves leases: tgt (a daemon of its own), or lio (the kernel itself, no process to kill).",
    )
    control_port: int = Field(
        default=0, ge=0, le=32767, description="tgtd -C; several per machine need different ones."
    )
    limit_bytes: Bytes | None = Field(default=None, description="Never lend more than this.")
    committed_bytes: Bytes = Field(default=0, description="Set aside by the owner for good: may back a move.")
    reserve_bytes: Bytes = Field(default=512 << 20, description="Always left to the host itself.")
    directory: Directory = Field(
        default=Path("/run/ramshare/lender"), description="Mount point of the RAM file system."
    )
    guests: Guests = Field(
        default={},
        description="Guests on this host where no hypervisor tells, with the memory of each: web1:2GiB,web2:512MiB, "
        'or JSON, {"web1": "2GiB"}. Of one without a size nothing is lent.',
    )
    hypervisor: str = Field(
        default="",
        description="Whose guests' balloons to use, as libvirt names it: qemu:///system, xen:///; empty: none.",
    )
    policy: str = Field(default="", description="Surplus policy by name; empty: the default one.")
    policy_caution: float = Field(
        default=1.0, ge=0, le=100, description="Multiplies the margin that the policy keeps for surges."
    )
    vacate_within_s: Seconds = Field(
        default=9.0, description="Deadline given to borrowers on reclaim: memory is to be back in 10 s, cut off or not."
    )


class LenderLabSettings(Settings):
    """For the lab: what lets several lenders play hosts on one machine, in minutes. No host needs any of it."""

    PREFIX: ClassVar[str] = "RAMSHARE_LENDER_"

    capacity_bytes: Bytes | None = Field(default=None, description="This host's share of the machine.")
    policy_pace: float = Field(default=1.0, gt=0, le=10, description="Multiplies the default policy's windows.")


class BorrowerSettings(Settings):
    """Where a borrower keeps what must outlast its agent."""

    PREFIX: ClassVar[str] = "RAMSHARE_BORROWER_"

    directory: Directory = Field(default=Path("/var/lib/ramshare/borrower"))
    ask_timeout_s: Seconds = 20.0
    mode: ModeChoice = Field(
        default=ModeChoice.AUTO, description="How a volume is attached where a request does not say: see `ModeChoice`."
    )
    encrypt: bool = Field(
        default=True, description="Encrypt pages on leases (dm-crypt), where a request does not say otherwise."
    )
    home_within_s: Seconds = Field(
        default=300.0, le=800, description="How long a shutdown waits for volumes to come home (ramshare-home.service)."
    )
    hypervisor: str = Field(
        default="",
        description="Whose guests have which volume as their disk, as libvirt names it: qemu:///system, xen:///; "
        "empty: nobody is asked.",
    )
    patience_s: Seconds = Field(
        default=90.0, description="How long swap waits for a lost lender that has the only copy (move), 5 to 3600."
    )
    auto: AllowedVolumes = Field(
        default={},
        description="Volumes to borrow for without being asked while they are in a swap storm, each with its mode and "
        "the most to borrow: vg0/swap=move:2GiB,vg0/web1=mirror. Empty: none. `ramshare why HOST` says what is done.",
    )
    guests: GuestAllowances = Field(
        default={},
        description="Guests whose administrators may ask, from inside, to borrow for their own swap and to return it, "
        "each with its volume, mode and the most to borrow: web1=vg0/swap:move:2GiB. Needs HYPERVISOR, which says that "
        "the volume is the guest's disk. Empty: none.",
    )
    auto_quiet_s: Annotated[float, Field(ge=5, le=86400, allow_inf_nan=False)] = Field(
        default=600.0, description="Nobody has swapped to it for so long: what AUTO borrowed goes home."
    )
    auto_loans_per_hour: int = Field(default=4, ge=0, le=60, description="AUTO borrows no more often, all together.")
    auto_limit_bytes: Bytes | None = Field(default=None, description="AUTO borrows no more than this, all together.")

    @model_validator(mode="after")
    def _guests_are_known(self) -> Self:
        if self.guests and not self.hypervisor:
            raise ValueError(
                "RAMSHARE_BORROWER_GUESTS needs RAMSHARE_BORROWER_HYPERVISOR, which says whose disk is whose"
            )
        return self


class ManagerSettings(Settings):
    """In which pieces the cluster lends, and what one borrower may have of it."""

    PREFIX: ClassVar[str] = "RAMSHARE_MANAGER_"

    least_lease_bytes: PositiveBytes = Field(
        default=LEAST_LEASE_BYTES, description="No lease is smaller: each costs its lender a target."
    )
    borrower_limit_bytes: Bytes = Field(
        default=64 << 30, description="Most that one borrower may have lent at a time, all its volumes together."
    )
    borrower_limit_leases: Count = Field(
        default=64, description="Most leases of one borrower at a time; one request may be spread over 64."
    )


KINDS: tuple[type[Settings], ...] = (
    BrokerSettings,
    HostSettings,
    LenderSettings,
    LenderLabSettings,
    BorrowerSettings,
    ManagerSettings,
)
OTHER_VARIABLES = frozenset({"RAMSHARE_ENV_FILE"})
LAB_PREFIX = "RAMSHARE_LAB_"
_NO_NAME = "use letters, digits, - and _, in parts that dots separate and that begin with a letter or digit"


def load(kind: type[S]) -> S:
    """Read settings of one kind: the environment goes before the file.

    Raises `SettingsError` naming the variable and what is wrong with it.
    """
    given: Mapping[str, str] = {**read_env_file(Path(_env_file())), **os.environ}
    values: dict[str, Any] = {
        name: given[v] for name in kind.model_fields if (v := kind.PREFIX + name.upper()) in given
    }
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        variable = kind.PREFIX + str(first["loc"][0]).upper() if first["loc"] else kind.PREFIX
        if not first["loc"]:  # of several settings together
            raise SettingsError(first["msg"], f"look into the environment and {_env_file()}") from error
        wrong = _NO_NAME if first["type"] == "string_pattern_mismatch" else first["msg"]
        raise SettingsError(
            f"{variable}: {str(first['input'])[:80]!r}: {wrong}", f"look into the environment and {_env_file()}"
        ) from error


def unknown_variables() -> dict[str, str]:
    """Return variables that look like ours and are none, each with the setting that may be meant, or nothing.

    Of the environment those that begin with `RAMSHARE_` count, and there and in the file those that nearly read like a
    setting of ours.
    """
    import difflib  # once, and not in the memory of every command

    known = {kind.PREFIX + name.upper() for kind in KINDS for name in kind.model_fields} | OTHER_VARIABLES
    found = {}
    for name in sorted({*os.environ, *read_env_file(Path(_env_file()))} - known):
        if name.startswith(LAB_PREFIX):
            continue
        alike = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)
        if name.upper().startswith("RAMSHARE_") or alike:
            found[name] = alike[0] if alike else ""
    return found


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file; none if it is absent. Raises `SettingsError` for a line that says nothing."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings file {path}: {error}") from error
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            # The line is not quoted: it may hold what nobody should read in a log.
            raise SettingsError(f"{path}, line {number}: not NAME=value")
        found[match["name"]] = next(v for v in (match["one"], match["two"], match["bare"]) if v is not None)
    return found


def default_operator() -> str:
    """Return the client name of the person at the keyboard: `cli.<user>`."""
    return f"cli.{getpass.getuser()}"
