"""Leases that are gone from this host but that their lender could not be told about: it was dead, or cut off.

They are kept in a file, so that a lender that comes back after hours hears of it even from a later run of the agent,
and no export stays behind for nobody. Used by the borrower's agent.
"""

import json
import logging
from pathlib import Path

log = logging.getLogger(__name__)


class Owed:
    """Lease to lender, on disk."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "owed.json"
        self._leases: dict[str, str] = {}

    def load(self) -> None:
        """Read what an earlier run left; a damaged file counts as empty."""
        try:
            found = json.loads(self._path.read_text())
            self._leases |= {str(lease): str(lender) for lease, lender in found.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError) as error:
            log.warning("cannot read %s: %s", self._path, error)

    def add(self, lease: str, lender: str) -> None:
        """Note that `lender` has yet to hear that `lease` is not used any more."""
        self._leases[lease] = lender
        self._save()

    def settle(self, lease: str) -> None:
        """The lender knows."""
        if self._leases.pop(lease, None) is not None:
            self._save()

    def all(self) -> dict[str, str]:
        """Return lease to lender."""
        return dict(self._leases)

    def _save(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(self._leases))
            part.replace(self._path)
        except OSError as error:
            log.error("cannot write %s: %s", self._path, error)
