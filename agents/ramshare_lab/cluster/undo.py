"""Undo everything that a journal lists, going on past failures. Used by the watcher, and by `sweep` after a crash.

First every process of the run dies, so that nothing holds on to anything; then namespaces, mounts and directories go,
newest first.
"""

import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ramshare.linux.run import CommandError, Runner
from ramshare_lab.cluster.journal import Entry, boot_id, marked_processes, start_time

log = logging.getLogger(__name__)

KILL_TIMEOUT_S = 10.0
"""Freeing the memory of a VM of a few GB takes about a second; what is left after this is stuck in the kernel."""


@dataclass
class Undo:
    """One pass over a journal. `failures` holds a sentence for everything that is still there."""

    runner: Runner
    failures: list[str] = field(default_factory=list)

    def all(self, entries: list[Entry]) -> list[str]:
        """Undo `entries` and return what failed, one sentence each."""
        same_boot = all(entry.text("boot") == boot_id() for entry in entries if entry.kind == "run")
        if same_boot:
            self._try("ending the processes", lambda: self._end_processes(entries))
            for entry in reversed(entries):
                self._try(f"removing namespace {entry.text('name')}", partial(self._namespace, entry))
                self._try(f"unmounting below {entry.text('path')}", partial(self._mounts, entry))
        for entry in reversed(entries):
            self._try(f"removing {entry.text('path')}", partial(self._directory, entry))
        return self.failures

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, CommandError, RuntimeError) as error:
            log.error("%s failed: %s", what, error)
            self.failures.append(f"{what} failed: {error}")

    def _end_processes(self, entries: list[Entry]) -> None:
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while left := self._living(entries):
            if time.monotonic() > deadline:
                raise RuntimeError(f"still running after {KILL_TIMEOUT_S:g} s: {sorted(left)}")
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def _living(self, entries: Iterable[Entry]) -> set[int]:
        found: set[int] = set()
        for entry in entries:
            if entry.kind == "run":
                found.update(marked_processes(entry.text("id")))
            elif entry.kind == "process" and start_time(entry.number("pid")) == entry.number("start"):
                found.add(entry.number("pid"))
        return found

    def _namespace(self, entry: Entry) -> None:
        if entry.kind == "namespace" and Path("/run/netns", entry.text("name")).exists():
            self.runner.run(["ip", "netns", "del", entry.text("name")])

    def _mounts(self, entry: Entry) -> None:
        if entry.kind in ("mounts", "directory"):
            for point in reversed(mounts_below(Path(entry.text("path")))):
                self.runner.run(["umount", str(point)])

    def _directory(self, entry: Entry) -> None:
        if entry.kind != "directory":
            return
        path = Path(entry.text("path"))
        if not path.exists():
            return
        if mounts_below(path):
            raise RuntimeError("something is still mounted there")
        if self.failures and (path / "journal.jsonl").exists():
            raise RuntimeError("kept, because its journal is needed to try again")
        shutil.rmtree(path)


def mounts_below(directory: Path, mountinfo: str | None = None) -> list[Path]:
    """Return the mount points in `directory`, in the order in which they were mounted."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in text.splitlines() if line.strip()]
    return [point for point in points if directory == point or directory in point.parents]
