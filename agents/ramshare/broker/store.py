"""A set of broker files on disk: always a whole one. The directory holds `current`, a link to the newest set.

A new set is written beside the old one and the link changed in one step, so that whoever is interrupted leaves the old
set as it was. Keys are 0600, directories with keys 0700.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ramshare.broker.cluster import Cluster
from ramshare.errors import ExitCode, RamshareError

CURRENT = "current"
CLUSTER_FILE = "cluster.json"
_SETS = "sets"
OWED_FILE = "restart-owed"
"""Names the brokers that must be started again before they go by this set; gone when they were."""
BROKER_DIRECTORIES = ("hosts", "guests")
"""The brokers' own, which their user reads."""
OPEN_DIRECTORIES = frozenset({"", *BROKER_DIRECTORIES})
PRIVATE_FILE, PUBLIC_FILE = 0o600, 0o644
PUBLIC_SUFFIXES = frozenset({".crt", ".nft", ".conf", ".env"})


class StoreError(RamshareError):
    """The set cannot be read or written."""


class NoSetError(StoreError):
    """There is no set in that directory."""

    exit_code = ExitCode.USAGE


Files = Mapping[str, bytes]
"""Path in the set to content."""


@dataclass(frozen=True)
class Store:
    """The directory of the sets."""

    directory: Path
    durable: bool = True
    """Wait until the disk has a new set before it becomes the current one."""

    @property
    def current(self) -> Path:
        """The newest whole set; its path stays the same."""
        return self.directory / CURRENT

    @property
    def exists(self) -> bool:
        """Whether there is a set."""
        return (self.current / CLUSTER_FILE).is_file()

    def load(self) -> tuple[Cluster, Files]:
        """Return what the current set is made for, and all its files. Raises `StoreError`."""
        if not self.exists:
            raise NoSetError(f"there is no set of broker files in {self.directory}", "make one: ramshare broker init")
        try:
            root = self.current.resolve()
            files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
            return Cluster.model_validate_json(files[CLUSTER_FILE]), files
        except OSError as error:
            raise StoreError(f"cannot read {error.filename}: {error.strerror}", "run it as root") from error
        except ValidationError as error:
            raise StoreError(
                f"{self.current / CLUSTER_FILE}: {error.errors()[0]['msg']}", "mend it, or make a new set"
            ) from error

    def owed(self) -> frozenset[str]:
        """Return the brokers that still go by an older set."""
        file = self.current / OWED_FILE
        return frozenset(file.read_text().split()) if file.is_file() else frozenset()

    def settle(self, which: str) -> None:
        """Note that a broker was started again and goes by this set."""
        left = self.owed() - {which}
        file = self.current / OWED_FILE
        if left:
            file.write_text(" ".join(sorted(left)))
        else:
            file.unlink(missing_ok=True)

    def replace(self, cluster: Cluster, files: Files, owed: Iterable[str] = ()) -> None:
        """Write a new set and make it the current one. Raises `StoreError`; the old set is then untouched.

        `owed`: brokers that go by it only when they are started again.
        """
        new: Path | None = None
        try:
            sets = self.directory / _SETS
            sets.mkdir(parents=True, exist_ok=True)
            old = self.current.resolve() if self.current.is_symlink() else None
            new = Path(tempfile.mkdtemp(prefix="set-", dir=sets))
            text = json.dumps(cluster.model_dump(mode="json"), indent=2) + "\n"
            later = self.owed().union(owed)
            mark = {OWED_FILE: " ".join(sorted(later)).encode()} if later else {}
            self._write(new, {**files, CLUSTER_FILE: text.encode(), **mark}, cluster.owner)
            link = new.with_suffix(".link")
            link.symlink_to(Path(_SETS) / new.name)
            link.replace(self.current)
            self._sync(self.directory)
        except BaseException as error:
            if new is not None:
                shutil.rmtree(new, ignore_errors=True)
                new.with_suffix(".link").unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise StoreError(
                    f"cannot write {error.filename or self.directory}: {error.strerror}", "the set there is unchanged"
                ) from error
            raise
        self._clear_away(new, old)

    def _clear_away(self, new: Path, old: Path | None) -> None:
        """Remove the sets before this one, those that were never finished included."""
        for other in new.parent.iterdir():
            if other != new:
                with contextlib.suppress(OSError):
                    other.unlink() if other.is_symlink() else shutil.rmtree(other)

    def _write(self, root: Path, files: Files, owner: str) -> None:
        root.chmod(0o755)
        for name, content in sorted(files.items()):
            path = root / name
            for directory in reversed(path.relative_to(root).parents[:-1]):
                self._make(root / directory, directory.parts, owner)
            public = path.suffix in PUBLIC_SUFFIXES
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PUBLIC_FILE if public else PRIVATE_FILE)
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, PUBLIC_FILE if public else PRIVATE_FILE)  # whatever this process's umask
                file.write(content)
                file.flush()
                if self.durable:
                    os.fsync(file.fileno())
            if owner and Path(name).parts[0] in BROKER_DIRECTORIES:
                shutil.chown(path, owner)

    def _make(self, directory: Path, parts: tuple[str, ...], owner: str) -> None:
        if not directory.is_dir():
            directory.mkdir(mode=0o700)
            if owner and parts[0] in BROKER_DIRECTORIES:
                shutil.chown(directory, owner)
            if (
                len(parts) == 2
            ):  # a bundle, which becomes /etc/ramshare: brokers there must find their own files below it
                directory.chmod(0o755)

    def _sync(self, directory: Path) -> None:
        if self.durable:
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
