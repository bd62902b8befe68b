"""What the lab has started, written down before it is started, so that everything can be undone whatever happens.

One JSON line per thing, flushed to the file at once. `undo.py` reads it back, newest first. Processes are known twice:
by an environment variable that all descendants inherit, which also covers what a daemon forks away, and by pid with
start time, so that a recycled pid is never mistaken for ours.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MARKER = "RAMSHARE_LAB_RUN"
"""Environment variable that every process of a lab run carries; its value is the run's id."""

FILE_NAME = "journal.jsonl"


@dataclass(frozen=True)
class Entry:
    """One thing to undo: `kind` and what is needed to find it."""

    kind: str
    """`run`, `process`, `namespace`, `mounts` or `directory`; see `undo.py`."""
    detail: dict[str, str | int] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """Return a detail as text, empty when absent."""
        return str(self.detail.get(key, ""))

    def number(self, key: str) -> int:
        """Return a detail as a number, 0 when absent."""
        return int(self.detail.get(key, 0))


class Journal:
    """The append-only list of one lab run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, kind: str, **detail: str | int) -> None:
        """Write one entry; it has reached the kernel when this returns."""
        with self.path.open("a") as out:
            out.write(json.dumps({"kind": kind, **detail}) + "\n")

    def record_process(self, pid: int, name: str) -> None:
        """Write down a process that was just started (its marker covers the moment before)."""
        self.record("process", pid=pid, start=start_time(pid) or 0, name=name)

    def entries(self) -> list[Entry]:
        """Return all entries, oldest first; a half-written last line is left out."""
        return list(_parse(self.path.read_text().splitlines())) if self.path.exists() else []


def _parse(lines: list[str]) -> Iterator[Entry]:
    for line in lines:
        try:
            detail = json.loads(line)
            yield Entry(detail.pop("kind"), detail)
        except (ValueError, KeyError, AttributeError):
            continue


def start_time(pid: int) -> int | None:
    """Return when `pid` started, in clock ticks since boot, or None when it does not exist (or is only a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def boot_id() -> str:
    """Return the id of this boot: pids, namespaces and mounts of another boot are gone already."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def marked_processes(run_id: str) -> list[int]:
    """Return the pids of all processes that carry `run_id`, but never this one."""
    wanted = f"{MARKER}={run_id}".encode()
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                environment = (directory / "environ").read_bytes()
            except OSError:
                continue
            if wanted in environment.split(b"\0"):
                found.append(int(directory.name))
    return found
