"""What every message on the bus has in common; `topics.py` says which model travels where.

Payloads are flat JSON objects. Sizes are bytes, durations seconds, times RFC 3339 in UTC. Unknown fields are ignored on
receipt so that a newer peer may add some; what is known is validated strictly enough that no agent checks again.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MAX_PAYLOAD_BYTES = 64 * 1024
"""Larger payloads are dropped unread; the largest message of our own (a borrow reply of 64 leases) stays below half."""

MAX_BYTES = 1 << 50
"""One pebibyte: an upper bound that keeps sums of sizes exact in JSON (2**53) and catches absurd input."""

Bytes = Annotated[int, Field(ge=0, le=MAX_BYTES)]
LEAST_LEASE_BYTES = 4 << 20
"""The smallest lease: one extent of a volume group as LVM makes it. Less can carry no part of a volume, and every lease
costs its lender a target and its borrower a session, a disk and a PV."""

PositiveBytes = Annotated[int, Field(gt=0, le=MAX_BYTES)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
MAX_RATE = 1e15
Rate = Annotated[float, Field(ge=0, le=MAX_RATE, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
"""Of machines or leases."""
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Any clock that was ever set lies between them, and so does one that was not; what is outside overflows in sums, in
other time zones and in what shows it."""


def _plausible(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        raise ValueError("a time outside 1970 to 2200")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_plausible)]
"""A point in time, in UTC whatever offset it came with."""

MAX_SEQ = 1 << 53
"""What JSON carries exactly."""

MAX_SENTENCE = 1000
"""Characters; longer ones quote a tool's whole output."""


def _shortened(text: object) -> object:
    return f"{text[: MAX_SENTENCE - 1]}…" if isinstance(text, str) and len(text) > MAX_SENTENCE else text


Line = Annotated[str, BeforeValidator(_shortened)]
"""Text for people that shortens itself."""

Sentence = Annotated[Line, StringConstraints(max_length=MAX_SENTENCE)]
"""The same, one to a message. What arrives longer is shortened, too: a sentence is no reason to drop a message."""

MAX_HOST_NAME = 63
_LABEL = r"[a-zA-Z0-9][a-zA-Z0-9_-]*"
HOST_PATTERN = rf"{_LABEL}(\.{_LABEL})*"
CLIENT_PATTERN = rf"[a-z0-9]{{1,16}}(\.{HOST_PATTERN})?"

ClientName = Annotated[str, StringConstraints(pattern=f"^{CLIENT_PATTERN}$", max_length=80)]
"""MQTT user name and client id: `role.name`, or just `manager`. The role ends at the first dot."""

HostName = Annotated[str, StringConstraints(pattern=f"^{HOST_PATTERN}$", max_length=MAX_HOST_NAME)]
"""A host's or guest's name, short or with its domain; it stands in client names, topics, tags and iSCSI names."""
LEASE_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}"
LeaseId = Annotated[str, StringConstraints(pattern=f"^{LEASE_PATTERN}$")]
VolumeName = Annotated[
    str, StringConstraints(pattern=r"^[a-zA-Z0-9_+][a-zA-Z0-9_+.-]{0,62}/[a-zA-Z0-9_+][a-zA-Z0-9_+.-]{0,62}$")
]
"""`VG/LV`, each of up to 63 of the characters that LVM allows; `topics.volume_path` says how it stands in a topic."""

Iqn = Annotated[str, StringConstraints(pattern=r"^(iqn|eui|naa)\.[a-zA-Z0-9.:_-]{1,219}$")]
"""The iSCSI name of a target that we make, RFC 3720 section 3.2.6."""

InitiatorName = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]{0,221}[^\x00-\x20\x7f])?$")
]
"""A host's iSCSI name: whatever its open-iscsi logs in by, and that need not follow any RFC."""

_PORT = r"(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
Portal = Annotated[str, StringConstraints(pattern=rf"^(\[[0-9a-fA-F:.]{{2,45}}\]|[a-zA-Z0-9.-]{{1,253}}):{_PORT}$")]
"""Where a target listens: address or name, and a TCP port."""


class Message(BaseModel):
    """A payload. The bus stamps `instance`, `seq` and `at` when it publishes."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
        defer_build=True,
    )
    """An error about a damaged message must not quote it: a reply holds secrets, and errors are logged. A model's
    validator is built at its first use, so that a monitor does not pay for messages that it neither sends nor hears."""

    KIND: ClassVar[str] = ""
    """Name and version of the layout, for example `offer/1`; a subclass must set it."""

    schema_id: str = Field(default="", alias="schema", max_length=80, description="Name and version of this layout.")
    instance: str = Field(default="", max_length=64, description="This run of the sending agent.")
    seq: int = Field(default=0, ge=0, le=MAX_SEQ, description="Counts the messages of one instance.")
    at: Moment = Field(default_factory=lambda: datetime.now(UTC), description="When it was published.")

    def model_post_init(self, _context: Any) -> None:
        """Fill in `schema` from the class."""
        object.__setattr__(self, "schema_id", self.KIND)

    def stamped(self, instance: str, seq: int, at: datetime) -> Self:
        """Return a copy that says who sent it, in which order and when."""
        return self.model_copy(update={"instance": instance, "seq": seq, "at": at})

    def to_json(self) -> bytes:
        """Return the payload as it travels."""
        return self.model_dump_json(by_alias=True).encode()
