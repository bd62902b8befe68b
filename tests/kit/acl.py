"""Reads the broker's access rules, so that the broker of the unit tests obeys the very file that Mosquitto does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ramshare.bus.wire import matches

Access = Literal["read", "write"]


@dataclass(frozen=True)
class AccessRules:
    """The `pattern` lines of a Mosquitto access file; whatever no line allows is refused."""

    patterns: tuple[tuple[str, str], ...]
    """(`read`, `write` or `readwrite`; topic filter with `%u` for the user's name)."""

    @classmethod
    def load(cls, path: Path) -> "AccessRules":
        """Read a file. Raises `ValueError` for a line that this reader does not know."""
        patterns = []
        for line in path.read_text().splitlines():
            words = line.split(maxsplit=2)
            if not words or words[0].startswith("#"):
                continue
            if len(words) != 3 or words[0] != "pattern" or words[1] not in ("read", "write", "readwrite"):
                raise ValueError(f"{path}: cannot read {line!r}")
            patterns.append((words[1], words[2]))
        return cls(tuple(patterns))

    def allow(self, client: str, access: Access, topic: str) -> bool:
        """Return whether `client` may read or write `topic`; never for a name with a wildcard or slash."""
        if any(character in client for character in "+#/"):
            return False
        return any(
            access in granted and matches(pattern.replace("%u", client), topic) for granted, pattern in self.patterns
        )
