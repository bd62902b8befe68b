"""The kernel's configfs, by which LIO is told what to serve: groups are directories, attributes are files.

Making a directory makes the kernel's object with its attributes; removing it ends the object, and fails while other
objects hang on it. Used by `lio.py`.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare.linux.run import Commands

MOUNT_POINT = Path("/sys/kernel/config")


class ConfigfsError(RamshareError):
    """The kernel did not take what it was told."""


class Configfs:
    """Groups and attributes below one directory, by their paths from there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self, group: str) -> None:
        """Make a group; one that exists is success. Raises `ConfigfsError`."""
        with _told(f"make {group}"):
            (self.root / group).mkdir(exist_ok=True)

    def remove(self, group: str) -> None:
        """Remove a group without children; none is success. Raises `ConfigfsError`."""
        with _told(f"remove {group}"), contextlib.suppress(FileNotFoundError):
            (self.root / group).rmdir()

    def link(self, group: str, to: str, name: str) -> None:
        """Hang the group `to` on `group`; if it hangs there, that is success. Raises `ConfigfsError`."""
        with _told(f"link {group} to {to}"), contextlib.suppress(FileExistsError):
            (self.root / group / name).symlink_to(self.root / to)

    def unlink(self, group: str) -> None:
        """Take off what hangs on `group`. Raises `ConfigfsError`."""
        for path in self._entries(group):
            if path.is_symlink():
                with _told(f"unlink {group}/{path.name}"), contextlib.suppress(FileNotFoundError):
                    path.unlink()

    def links(self, group: str) -> list[str]:
        """Return the last two parts of the paths of what hangs on `group`."""
        paths = [path.readlink() for path in self._entries(group) if path.is_symlink()]
        return [f"{path.parent.name}/{path.name}" for path in paths]

    def write(self, attribute: str, value: str | int) -> None:
        """Set an attribute. Raises `ConfigfsError`, which names the attribute and not the value: it may be a secret."""
        with _told(f"set {attribute}"):
            # Some can be written only, none may be created, and each takes one write.
            attribute_fd = os.open(self.root / attribute, os.O_WRONLY)
            try:
                os.write(attribute_fd, str(value).encode())
            finally:
                os.close(attribute_fd)

    def read(self, attribute: str) -> str:
        """Return an attribute without white space around it, empty if there is none."""
        try:
            return (self.root / attribute).read_text().strip()
        except OSError:
            return ""

    def groups(self, group: str) -> list[str]:
        """Return the names of the groups in `group`, sorted; none if it does not exist."""
        return [path.name for path in self._entries(group) if path.is_dir() and not path.is_symlink()]

    def exists(self, group: str) -> bool:
        """Whether there is such a group."""
        return (self.root / group).is_dir()

    def _entries(self, group: str) -> list[Path]:
        try:
            return sorted((self.root / group).iterdir())
        except OSError:
            return []


def ensure_configfs(runner: Commands, mount_point: Path = MOUNT_POINT) -> None:
    """Have configfs mounted. Raises `CommandError`."""
    if not mount_point.is_mount():
        runner.run(["modprobe", "configfs"])
        runner.run(["mount", "-t", "configfs", "configfs", str(mount_point)])


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigfsError(f"the kernel's target refused to {what}: {error.strerror}", "dmesg says why") from error
