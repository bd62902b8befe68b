"""A lab's place on this machine: its name, its directories, the journal of what it starts, and who undoes all of it."""

import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from ramshare.errors import ExitCode, RamshareError
from ramshare.linux.run import Runner
from ramshare_lab.cluster.agents import PACKAGE_ROOT
from ramshare_lab.cluster.journal import FILE_NAME, MARKER, Journal, boot_id, start_time
from ramshare_lab.cluster.reaper import LABS_DIR, LeftoverError, Watcher, owner, sweep

DISKS_DIR = Path("/var/tmp")
"""Not `/tmp` or `/run`, which may be memory."""


class LabRunsError(RamshareError):
    """A lab of this name runs already."""

    exit_code = ExitCode.USAGE


class Premises:
    """Taken by one lab at a time. From `open` on, whatever the journal names is undone when this process ends."""

    def __init__(self, name: str, runner: Runner, say: Callable[[str], None]) -> None:
        self._name = name
        self._runner = runner
        self._say = say
        self.state_dir = LABS_DIR / name
        self.journal = Journal(self.state_dir / FILE_NAME)
        self.disks_dir = Path(tempfile.mktemp(prefix=f"ramshare-{name}-", dir=DISKS_DIR))
        self._watcher: Watcher | None = None

    def open(self) -> None:
        """Take the place, after what crashed labs left is removed. Raises `LabRunsError` or `LeftoverError`."""
        if (running := owner(self.journal.entries())) is not None:
            raise LabRunsError(f"lab {self._name} runs already (pid {running})", "choose another name")
        self._clear_away()
        run_id = f"{self._name}-{uuid.uuid4().hex}"
        self.state_dir.mkdir(parents=True, mode=0o700)
        own = os.getpid()
        self.journal.record("run", id=run_id, pid=own, start=start_time(own) or 0, boot=boot_id())
        self.journal.record("directory", path=str(self.state_dir))
        (self.state_dir / "log").mkdir()
        os.environ[MARKER] = run_id
        self._watcher = Watcher(self.journal, self._runner, {"PYTHONPATH": str(PACKAGE_ROOT)})
        self.journal.record("directory", path=str(self.disks_dir))
        self.disks_dir.mkdir(mode=0o700)

    def close(self) -> list[str]:
        """Have everything undone and return a sentence for each thing that is left. Idempotent."""
        try:
            if self._watcher is None:
                return []
            self._say("taking the lab down")
            watcher, self._watcher = self._watcher, None
            return watcher.finish()
        finally:
            os.environ.pop(MARKER, None)

    def _clear_away(self) -> None:
        """Remove what crashed labs left; what cannot be removed of another lab is only told."""
        try:
            sweep(self._runner)
        except LeftoverError as error:
            if self.state_dir.exists():
                raise
            self._say(f"left over from another lab: {error.message}")
