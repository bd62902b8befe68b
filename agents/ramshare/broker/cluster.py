"""What a set of broker files is made for: the accounts, where the brokers are, and what was revoked. Pure.

Kept as `cluster.json` in the set, so that `add`, `revoke` and `renew` know what `init` was told.
"""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ramshare.broker.conf import GUESTS_PORT, HOSTS_PORT, PLUGIN
from ramshare.broker.rights import BRIDGE, GUEST, HOSTS_ROLES
from ramshare.broker.rules import ADMIN, GUARD
from ramshare.broker.size import Size
from ramshare.errors import ExitCode, RamshareError
from ramshare.messages.base import ClientName, HostName, Moment
from ramshare.topics import DASHBOARD, DEFAULT_ROOT, MANAGER, BadTopicError, Root, StateTopic, name, role, server_name

Address = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._:-]{1,253}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
COMMON_NAME_CHARACTERS = 64
"""The most that a certificate holds (RFC 5280, ub-common-name)."""
_ALONE = frozenset({MANAGER, DASHBOARD})


class AccountError(RamshareError):
    """A name that no account can have, or one that is there already, or is not."""

    exit_code = ExitCode.USAGE


def check_account(client: str) -> str:
    """Return a client name that can be an account. Raises `AccountError`."""
    try:
        StateTopic(client, "status")
    except BadTopicError as error:
        raise AccountError(f"no account can be named {client[:80]!r}: {error.message}", error.hint) from error
    kind, named = role(client), "." in client
    if kind not in HOSTS_ROLES | {GUEST}:
        roles = ", ".join(sorted(HOSTS_ROLES | {GUEST}))
        raise AccountError(f"no account can be named {client!r}: {kind} is no role", f"roles: {roles}")
    if not named and kind not in _ALONE:
        raise AccountError(f"no account can be named {client!r}", f"it needs a name, for example {kind}.web1")
    if len(client) > COMMON_NAME_CHARACTERS:
        raise AccountError(
            f"{client!r} is too long for a certificate", f"at most {COMMON_NAME_CHARACTERS} characters with its role"
        )
    return client


class Revoked(BaseModel):
    """A certificate that is not valid any more."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    client: ClientName
    serial: str = Field(pattern=r"^[0-9]{1,60}$")
    """As text: it has more digits than JSON carries exactly."""
    at: Moment


def _checked_root(root: str) -> str:
    return Root.of(root).name


class Cluster(BaseModel):
    """Both brokers and everybody who has an account on them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    root: Annotated[str, AfterValidator(_checked_root)] = DEFAULT_ROOT
    accounts: tuple[ClientName, ...] = ()
    """On the hosts' broker: manager, lenders, borrowers, people, dashboards."""
    guests: tuple[HostName, ...] = ()
    """On the guests' broker: the guests' names."""
    addresses: tuple[Address, ...] = Field(default=("127.0.0.1",), min_length=1)
    """Names and addresses of the hosts' broker; agents use the first."""
    guests_addresses: tuple[Address, ...] = Field(default=("127.0.0.1",), min_length=1)
    port: Port = HOSTS_PORT
    guests_port: Port = GUESTS_PORT
    for_hosts: int = Field(default=0, ge=0)
    for_guests: int = Field(default=0, ge=0)
    """How many the brokers are made for, if more than have accounts."""
    data: str = "/var/lib/mosquitto"
    seen_at: str = ""
    """Where the brokers find the set, if not where it is written (a container); empty: there."""
    plugin: str = PLUGIN
    owner: str = ""
    """The user that the brokers run as, who owns their files; empty: who makes them."""
    revoked: tuple[Revoked, ...] = ()

    @model_validator(mode="after")
    def _checked(self) -> Self:
        for client in (*self.accounts, *self.guest_accounts):
            check_account(client)
        return self

    @property
    def guest_accounts(self) -> tuple[str, ...]:
        """Client names of the guests."""
        return tuple(f"{GUEST}.{guest}" for guest in self.guests)

    @property
    def size(self) -> Size:
        """What the brokers are made for: what was stated, or who has an account if those are more."""
        hosts = {name(client) for client in self.accounts if role(client) in ("lender", "borrower")}
        return Size(self.for_hosts, self.for_guests).at_least(len(hosts), len(self.guests))

    def has(self, client: str) -> bool:
        """Whether there is such an account."""
        return client in self.accounts or client in self.guest_accounts

    def having(self, client: str) -> "Cluster":
        """Return the cluster with one account more. Raises `AccountError`."""
        check_account(client)
        if self.has(client):
            raise AccountError(f"{client} has an account already", f"a new certificate: ramshare broker renew {client}")
        if role(client) == GUEST:
            return self.model_copy(update={"guests": tuple(sorted((*self.guests, name(client))))})
        return self.model_copy(update={"accounts": tuple(sorted((*self.accounts, client)))})

    def without(self, client: str) -> "Cluster":
        """Return the cluster with one account less. Raises `AccountError`."""
        if not self.has(client):
            raise AccountError(f"there is no account {client}", "ramshare broker show lists them")
        return self.model_copy(
            update={
                "accounts": tuple(other for other in self.accounts if other != client),
                "guests": tuple(guest for guest in self.guests if f"{GUEST}.{guest}" != client),
            }
        )


def bundle_of(client: str, accounts: tuple[str, ...]) -> str:
    """Return the name of the bundle that an account's files are in: one per host, guest, person or program."""
    kind, named = role(client), name(client)
    if kind in ("lender", "borrower"):
        return f"host.{named}"
    stem, dash, number = client.rpartition("-")
    return stem if dash and number.isdecimal() and stem in accounts else client


def certificate_of(client: str, accounts: tuple[str, ...]) -> str:
    """Return where in its bundle an account's certificate is, without `.crt`: every manager's has the same name."""
    return f"{bundle_of(client, accounts)}/tls/{server_name(client)}"


RESERVED = frozenset({BRIDGE, ADMIN, GUARD})
"""Names in certificates that are no account of ours."""
