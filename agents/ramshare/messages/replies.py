"""Replies, the only messages that may carry a secret. They are never retained and never logged."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer

from ramshare.messages.base import MAX_SEQ, Bytes, ClientName, Iqn, LeaseId, Message, Portal, PositiveBytes, Sentence
from ramshare.messages.state import Leg, Mode


class ErrorCode(StrEnum):
    """Why a request was refused; closed, so that scripts may rely on it."""

    BAD_REQUEST = "bad-request"
    NOT_ALLOWED = "not-allowed"
    NOT_READY = "not-ready"
    NO_CAPACITY = "no-capacity"
    UNKNOWN_VOLUME = "unknown-volume"
    NOT_SWAP = "not-swap"
    UNKNOWN_LEASE = "unknown-lease"
    IN_USE = "in-use"
    CONFLICT = "conflict"
    DEADLINE_PASSED = "deadline-passed"
    LENDER_GONE = "lender-gone"
    BUSY = "busy"
    WAITING = "waiting"
    """Manager to borrower: nothing can be lent now; the request keeps its place in line if it is asked again."""
    OUTDATED = "outdated"
    """A newer manager has taken over; its lenders obey no older one."""
    FAILED = "failed"


class Reply(Message):
    """The plain answer: done (or begun), or an error with a sentence that says what to do."""

    KIND: ClassVar[str] = "reply/1"
    request_id: str = Field(max_length=64)
    error: ErrorCode | None = None
    sentence: Sentence = ""

    @property
    def ok(self) -> bool:
        """Whether the request was granted."""
        return self.error is None


class Grant(BaseModel):
    """A lease that its borrower may log in to, with the one-time CHAP secrets of both sides; part of a reply."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)

    lease: LeaseId
    lender: ClientName
    portal: Portal
    target: Iqn
    size_bytes: PositiveBytes
    leg: Leg = 0
    chap_user: str = Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")
    sealed_secrets: SecretStr = Field(
        min_length=12, max_length=256, description="Sealed to the borrower's key (libsodium's sealed box, in base64)."
    )

    @field_serializer("sealed_secrets", when_used="json")
    def _reveal(self, secret: SecretStr) -> str:
        return secret.get_secret_value()


class LenderShare(BaseModel):
    """What one lender would be asked for; part of the answer to a dry run."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)

    lender: ClientName
    size_bytes: PositiveBytes
    leg: Leg = 0


Shares = Annotated[tuple[LenderShare, ...], Field(max_length=64, description="The answer to a dry run.")]


class ExportReply(Reply):
    """Lender to manager."""

    KIND: ClassVar[str] = "export-reply/1"
    grant: Grant | None = None


class BorrowReply(Reply):
    """Manager to borrower: the leases, one or several, and why these."""

    KIND: ClassVar[str] = "borrow-reply/1"
    grants: tuple[Grant, ...] = Field(default=(), max_length=64)
    shares: Shares = ()
    generation: int = Field(default=0, ge=0, le=MAX_SEQ, description="Of the manager that grants; 0: not said.")


class AttachReply(Reply):
    """Borrower to operator: attaching has begun; follow `state/borrower.<host>/volume/<vg>/<lv>`."""

    KIND: ClassVar[str] = "attach-reply/1"
    leases: tuple[LeaseId, ...] = Field(default=(), max_length=64)
    lenders: tuple[ClientName, ...] = Field(default=(), max_length=64)
    shares: Shares = ()
    mode: Mode | None = Field(default=None, description="How the volume is, or would be, attached.")
    size_bytes: Bytes = Field(default=0, description="Of the volume; 0: not said.")
    waiting: bool = Field(default=False, description="Nothing is lent yet: the borrower waits for memory.")


REPLIES: tuple[type[Reply], ...] = (Reply, ExportReply, BorrowReply, AttachReply)
"""Every reply model; the payload's `schema` tells which one it is."""
