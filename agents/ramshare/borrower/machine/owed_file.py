"""What lenders have yet to be told, on disk: a lender that comes back after hours hears of it from a later run too."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)


class OwedFile:
    """Lease to lender, in `directory`. What cannot be read or written is logged: it must not stop the agent."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "owed.json"

    def read(self) -> dict[str, str]:
        """Return what an earlier run left; a damaged file counts as empty."""
        try:
            found = json.loads(self._path.read_text())
            return {str(lease): str(lender) for lease, lender in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            log.warning("cannot read %s: %s", self._path, error)
            return {}

    def write(self, owed: Mapping[str, str]) -> None:
        """Replace what is there."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(dict(owed)))
            part.replace(self._path)
        except OSError as error:
            log.error("cannot write %s: %s", self._path, error)
