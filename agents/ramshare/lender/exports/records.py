"""The lender's record of each export, kept beside its image on the RAM file system: it dies with what it describes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_serializer

from ramshare.messages.base import ClientName, InitiatorName, Iqn, LeaseId, Moment, PositiveBytes, Seconds
from ramshare.messages.names import lease_of, target_of
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import LeasePhase, Leg, Mode, is_committed


class ExportRecord(BaseModel):
    """Everything needed to serve, describe and remove one export; holds the CHAP secret, so its file has mode 0600."""

    model_config = ConfigDict(frozen=True)

    lease: LeaseId
    borrower: ClientName
    initiator: InitiatorName
    size_bytes: PositiveBytes
    mode: Mode
    leg: Leg = 0
    target: Iqn
    tid: int = Field(ge=1)
    chap_user: str
    chap_secret: SecretStr
    proof_secret: SecretStr = SecretStr("")
    """By which the target proves itself to the borrower; a record of an earlier version has none."""
    created_at: Moment
    login_within_s: Seconds
    phase: LeasePhase = LeasePhase.EXPORTED

    @classmethod
    def made(cls, request: ExportLease, host: str, tid: int, secret: str, proof: str) -> Self:
        """Return the record of what is made now, on `host`, as the request asks for it."""
        return cls(
            lease=request.lease,
            borrower=request.borrower,
            initiator=request.initiator,
            size_bytes=request.size_bytes,
            mode=request.mode,
            leg=request.leg,
            target=target_of(host, request.lease),
            tid=tid,
            chap_user=request.lease,
            chap_secret=SecretStr(secret),
            proof_secret=SecretStr(proof),
            created_at=datetime.now(UTC),
            login_within_s=request.login_within_s,
        )

    @property
    def committed(self) -> bool:
        """Whether it lies on memory that was set aside for good."""
        return is_committed(self.mode, self.leg)

    @property
    def login_by(self) -> datetime:
        """When the grant ends unless somebody has logged in."""
        return self.created_at + timedelta(seconds=self.login_within_s)

    @property
    def proof_user(self) -> str:
        """The name under which the target proves itself."""
        return f"{self.chap_user}.target"

    @field_serializer("chap_secret", "proof_secret", when_used="json")
    def _reveal(self, secret: SecretStr) -> str:
        return secret.get_secret_value()


def parse_records(found: Mapping[str, Mapping[str, Any]]) -> dict[str, ExportRecord]:
    """Return the records that are whole, by lease; what has none gets swept once nobody uses it.

    One that speaks of another lease than its file's name is none: by it that lease's target would be removed.
    """
    records = {}
    for lease, fields in found.items():
        try:
            record = ExportRecord.model_validate(fields)
        except ValidationError:
            continue
        if record.lease == lease == lease_of(record.target):
            records[lease] = record
    return records
