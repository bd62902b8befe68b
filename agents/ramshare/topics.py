"""Every topic, as validated values, and which message travels on it.

Four channels, one shape (`state`, `event`, `request`, `reply`): a receiver knows the sender from the topic, one set of
access rules covers every role, and a reply topic is derived from the request's, never taken from a message.
"""

import re
from dataclasses import dataclass
from typing import Self

from ramshare.errors import RamshareError
from ramshare.messages import events, replies, requests, state
from ramshare.messages.base import CLIENT_PATTERN, MAX_HOST_NAME, Message

VERSION = "v1"
DEFAULT_ROOT = "ramshare"
EVERYBODY = "all"
"""Server name in `request/all/<client>/announce`."""

OWN_HOST = "host"
"""Server name in `request/host/<guest>/<verb>`: the host that the guest runs on, whichever that is. A guest knows no
host's name, and learns none: the answer comes as `reply/<guest>/host`. Its host's borrower serves it."""

MANAGER = "manager"
_CLIENT = re.compile(CLIENT_PATTERN)
_SEGMENT = re.compile(r"([a-zA-Z0-9_.-]|%2B){1,64}")
"""`%2B` is a plus sign, see `volume_path`."""


class BadTopicError(RamshareError):
    """A topic, or a part of one, that is not ours."""


@dataclass(frozen=True)
class StateTopic:
    """`state/<client>/<path>`: retained, written by `client` only."""

    client: str
    path: str

    def __post_init__(self) -> None:
        _check(self.client, self.path)

    def render(self, root: str = DEFAULT_ROOT) -> str:
        """Return the topic as text."""
        return f"{root}/{VERSION}/state/{self.client}/{self.path}"


@dataclass(frozen=True)
class EventTopic:
    """`event/<client>/<kind>`."""

    client: str
    kind: str

    def __post_init__(self) -> None:
        _check(self.client, self.kind)

    def render(self, root: str = DEFAULT_ROOT) -> str:
        """Return the topic as text."""
        return f"{root}/{VERSION}/event/{self.client}/{self.kind}"


@dataclass(frozen=True)
class RequestTopic:
    """`request/<server>/<client>/<verb>`: written by `client` only."""

    server: str
    client: str
    verb: str

    def __post_init__(self) -> None:
        _check(self.server, self.verb)
        _check(self.client, self.verb)

    def render(self, root: str = DEFAULT_ROOT) -> str:
        """Return the topic as text."""
        return f"{root}/{VERSION}/request/{self.server}/{self.client}/{self.verb}"

    def reply(self) -> "ReplyTopic":
        """Return where the answer goes."""
        return ReplyTopic(self.client, self.server)


@dataclass(frozen=True)
class ReplyTopic:
    """`reply/<client>/<server>`: written by `server` only."""

    client: str
    server: str

    def __post_init__(self) -> None:
        _check(self.client, self.server)
        _check(self.server, self.client)

    def render(self, root: str = DEFAULT_ROOT) -> str:
        """Return the topic as text."""
        return f"{root}/{VERSION}/reply/{self.client}/{self.server}"


Topic = StateTopic | EventTopic | RequestTopic | ReplyTopic


@dataclass(frozen=True)
class Root:
    """The first part of every topic, and the parser of what comes back."""

    name: str = DEFAULT_ROOT

    @classmethod
    def of(cls, name: str) -> Self:
        """Validate a configured root."""
        if not _SEGMENT.fullmatch(name):
            raise BadTopicError(
                f"{name!r} cannot be the root of topics", "use letters, digits, dot, dash or underscore"
            )
        return cls(name)

    def parse(self, topic: str) -> Topic:
        """Return the value of a topic string. Raises `BadTopicError` for anything foreign."""
        parts = topic.split("/")
        if len(parts) < 4 or parts[0] != self.name or parts[1] != VERSION:
            raise BadTopicError(f"foreign topic {topic[:120]!r}")
        channel, first, rest = parts[2], parts[3], parts[4:]
        if channel == "state" and rest:
            return StateTopic(first, "/".join(rest))
        if channel == "event" and len(rest) == 1:
            return EventTopic(first, rest[0])
        if channel == "request" and len(rest) == 2:
            return RequestTopic(first, rest[0], rest[1])
        if channel == "reply" and len(rest) == 1:
            return ReplyTopic(first, rest[0])
        raise BadTopicError(f"foreign topic {topic[:120]!r}")


def role(client: str) -> str:
    """Return the role in a client name: `lender` of `lender.hosta`."""
    return client.partition(".")[0]


def name(client: str) -> str:
    """Return the name in a client name: `hosta` of `lender.hosta`; the role where there is no name."""
    first, _, second = client.partition(".")
    return second or first


def server_name(client: str) -> str:
    """Return the name by which a client is asked: its own. Managers share one: whoever is active answers."""
    return MANAGER if role(client) == MANAGER else client


STATES: dict[str, dict[str, type[Message]]] = {
    "guest": {"status": state.Status, "memory": state.Memory},
    "lender": {
        "status": state.Status,
        "memory": state.Memory,
        "offer": state.Offer,
        "decisions": state.Decisions,
        "export/+": state.Export,
    },
    "borrower": {
        "status": state.Status,
        "key": state.SealingKey,
        "decisions": state.Decisions,
        "guest/+": state.GuestClaim,
        "lease/+": state.Lease,
        "volume/+/+": state.Volume,
    },
    MANAGER: {
        "status": state.Status,
        "claim": state.Claim,
        "summary": state.ManagerState,
        "host/+": state.HostRecord,
        "lease/+": state.LeaseRecord,
    },
}
"""Role to what its clients may say of themselves: path pattern (`+` for one segment) to model. Nobody hears the rest:
an offer is a lender's word, a volume a borrower's, whatever an account publishes. People and dashboards say nothing.
"""
REQUESTS: dict[tuple[str, str], type[requests.Request]] = {
    ("borrower", "borrow"): requests.BorrowVolume,
    ("borrower", "return"): requests.ReturnVolume,
    ("borrower", "vacate"): requests.Vacate,
    (MANAGER, "borrow"): requests.BorrowMemory,
    ("lender", "export"): requests.ExportLease,
    ("lender", "release"): requests.ReleaseLease,
    ("lender", "confirm"): requests.Confirm,
    ("lender", "drain"): requests.Drain,
    ("lender", "undrain"): requests.Undrain,
    (OWN_HOST, "borrow"): requests.BorrowOwnSwap,
    (OWN_HOST, "return"): requests.ReturnOwnSwap,
    (EVERYBODY, "announce"): requests.Announce,
}
"""(role of the server, verb) to the request's model."""

ALLOWED: dict[tuple[str, str], frozenset[str]] = {
    ("borrower", "borrow"): frozenset({"cli"}),
    ("borrower", "return"): frozenset({"cli"}),
    ("borrower", "vacate"): frozenset({"lender"}),
    (MANAGER, "borrow"): frozenset({"borrower"}),
    ("lender", "export"): frozenset({MANAGER}),
    ("lender", "release"): frozenset({"borrower", MANAGER}),
    ("lender", "confirm"): frozenset({MANAGER}),
    ("lender", "drain"): frozenset({"cli"}),
    ("lender", "undrain"): frozenset({"cli"}),
    (OWN_HOST, "borrow"): frozenset({"guest"}),
    (OWN_HOST, "return"): frozenset({"guest"}),
    (EVERYBODY, "announce"): frozenset({MANAGER}),
}
"""Which roles a server accepts each verb from."""

DASHBOARD = "dashboard"
AGENTS = frozenset(STATES)
MARKS = 16
"""A command has so many topics of its own that mark the end of what is stored; it clears one for each connection."""


def mark_path(number: int) -> str:
    """Return the state path of a mark; see `api.Bus.watch_state`."""
    return f"lease/mark-{number % MARKS}"


_MARKS = tuple(mark_path(number) for number in range(MARKS))
WRITES: dict[str, tuple[str, ...]] = {
    **{kind: tuple(models) for kind, models in STATES.items()},
    "cli": _MARKS,
    DASHBOARD: _MARKS,
}
"""Which state each role says of itself; the broker refuses it any other. Few and fixed where the role is not trusted
with memory of the broker: a retained topic costs it as much as its payload."""

TELLS_EVENTS = frozenset({"lender", "borrower", MANAGER})

SERVES_GUESTS = "borrower"
"""Role whose agents serve what guests ask their host for."""
CLAIMS = "guest/+"
"""State paths by which borrowers tell each other whose guest one is; heard for guests by name, never all."""

EVERYTHING = (("+", "#"),)
WATCHES: dict[str, tuple[tuple[str, str], ...]] = {
    "guest": (),
    "lender": (("guest", "memory"), ("borrower", "lease/+"), ("+", "key")),
    "borrower": (("guest", "memory"), ("+", CLAIMS)),
    MANAGER: tuple(("+", path) for path in ("status", "offer", "export/+", "lease/+", "claim")),
    "cli": EVERYTHING,
    DASHBOARD: EVERYTHING,
}
"""(whose, which) state each role reads beside its own. `+`: everybody's; `guest`: each guest's; `borrower`: that of the
borrower on the same host."""

HEARS_EVENTS = frozenset({"cli", DASHBOARD})


def served_as(server: str, client: str) -> str:
    """Return the role in which `client` serves a request that was sent to `server`."""
    return server if server in (EVERYBODY, OWN_HOST) else role(client)


def volume_path(volume: str) -> str:
    """Return the state path of the volume `VG/LV`. A plus sign, a wildcard in topics, stands there as `%2B`."""
    return f"volume/{volume.replace('+', '%2B')}"


def state_models(client_role: str) -> dict[str, type[Message]]:
    """Return path pattern (`+` for one segment) to model, for state topics of one role; empty for who says nothing."""
    return STATES.get(client_role, {})


def every_state_model() -> set[type[Message]]:
    """Return the models of all state topics."""
    return {model for models in STATES.values() for model in models.values()}


def model_of(topic: Topic) -> type[Message]:
    """Return the model that travels on `topic`; for a reply the common base. Raises `BadTopicError` if none does."""
    match topic:
        case StateTopic(client, path):
            for pattern, model in state_models(role(client)).items():
                if _matches(pattern, path):
                    return model
        case EventTopic():
            return events.Event
        case RequestTopic(server, _, verb):
            found = REQUESTS.get((role(server), verb))
            if found is not None:
                return found
        case ReplyTopic():
            return replies.Reply
    raise BadTopicError(f"no message is defined for {topic.render()}")


def _matches(pattern: str, path: str) -> bool:
    wanted, parts = pattern.split("/"), path.split("/")
    return len(wanted) == len(parts) and all(w in ("+", p) for w, p in zip(wanted, parts, strict=True))


def _check(client: str, path: str) -> None:
    if len(client.partition(".")[2]) > MAX_HOST_NAME or not _CLIENT.fullmatch(client):
        raise BadTopicError(f"{client[:100]!r} is not a client name", "use role.name, for example lender.hosta")
    if not all(_SEGMENT.fullmatch(part) for part in path.split("/")):
        raise BadTopicError(f"{path[:100]!r} cannot be part of a topic")
