"""The lender's record of each export, kept beside its image on the RAM file system: it dies with what it describes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, SecretStr, ValidationError, field_serializer

from ramshare.messages.base import ClientName, Iqn, LeaseId, PositiveBytes
from ramshare.messages.state import LeasePhase, Mode


class ExportRecord(BaseModel):
    """Everything needed to serve, describe and remove one export; holds the CHAP secret, so its file has mode 0600."""

    model_config = ConfigDict(frozen=True)

    lease: LeaseId
    borrower: ClientName
    initiator: Iqn
    size_bytes: PositiveBytes
    mode: Mode
    target: Iqn
    tid: int
    chap_user: str
    chap_secret: SecretStr
    created_at: AwareDatetime
    login_within_s: float
    phase: LeasePhase = LeasePhase.EXPORTED

    @property
    def login_by(self) -> datetime:
        """When the grant ends unless somebody has logged in."""
        return self.created_at + timedelta(seconds=self.login_within_s)

    @field_serializer("chap_secret", when_used="json")
    def _reveal(self, secret: SecretStr) -> str:
        return secret.get_secret_value()


def image_path(directory: Path, lease: str) -> Path:
    """Return where the RAM file of a lease lies."""
    return directory / f"{lease}.img"


def record_path(directory: Path, lease: str) -> Path:
    """Return where the record of a lease lies."""
    return directory / f"{lease}.json"


def load_records(directory: Path) -> dict[str, ExportRecord]:
    """Return the records that can be read, by lease; one that cannot is left out and its image is swept later."""
    found = {}
    for path in sorted(directory.glob("*.json")):
        try:
            record = ExportRecord.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue
        found[record.lease] = record
    return found


def now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(UTC)
