"""The watcher: undoes everything a lab started when its orchestrator ends, in whatever way it ends.

It holds the reading end of a pipe whose writing end only the orchestrator has. End of file means that the orchestrator
is gone: normally, by Ctrl-C, or by SIGKILL. It runs in a session of its own, so that Ctrl-C does not reach it.
"""

import contextlib
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare.linux.run import Runner, SystemRunner, require_root
from ramshare_lab.cluster.journal import FILE_NAME, Entry, Journal, start_time
from ramshare_lab.cluster.undo import Undo

LABS_DIR = Path("/run/ramshare/lab")
"""Each running lab has a directory here, named after it."""

WATCHER_TIMEOUT_S = 60.0


class LeftoverError(RamshareError):
    """Something of a lab could not be removed."""


class Watcher:
    """The orchestrator's end: as long as this object (and its process) lives, the lab stays."""

    def __init__(self, journal: Journal, runner: Runner, env: dict[str, str]) -> None:
        argv = ["setsid", sys.executable, "-m", "ramshare_lab.cluster.reaper", str(journal.path)]
        self._process: subprocess.Popen[str] = runner.spawn(argv, pipes=True, env=env)
        journal.record("watcher", pid=self._process.pid, start=start_time(self._process.pid) or 0)
        self._wait_until_ready()

    def finish(self) -> list[str]:
        """Have everything undone and return a sentence for each thing that is left."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        printed = self._process.stdout.read() if self._process.stdout is not None else ""
        self._process.wait(WATCHER_TIMEOUT_S)
        return printed.splitlines()

    def _wait_until_ready(self) -> None:
        first = self._process.stdout.readline() if self._process.stdout is not None else ""
        if first.strip() != "watching":
            raise RamshareError(f"the lab's watcher did not start: {first.strip() or 'no output'}")


def sweep(runner: Runner, labs_dir: Path = LABS_DIR) -> list[str]:
    """Undo every lab whose orchestrator is gone; return what was found, one sentence each.

    Raises `LeftoverError` when something could not be removed.
    """
    require_root("removing what a lab left behind")
    said: list[str] = []
    failures: list[str] = []
    for path in sorted(labs_dir.glob(f"*/{FILE_NAME}")):
        entries = Journal(path).entries()
        if owner(entries) is not None:
            continue
        _await_watcher(entries)
        if path.exists():
            said.append(f"lab {path.parent.name} was left behind")
            failures += Undo(runner).all(entries)
    if failures:
        raise LeftoverError("; ".join(failures), "ramshare lab clean")
    return said


def owner(entries: list[Entry]) -> int | None:
    """Return the pid of the living orchestrator of a journal, or None."""
    return next((e.number("pid") for e in entries if e.kind == "run" and _lives(e)), None)


def _lives(entry: Entry) -> bool:
    return entry.number("start") != 0 and start_time(entry.number("pid")) == entry.number("start")


def _await_watcher(entries: list[Entry]) -> None:
    deadline = time.monotonic() + WATCHER_TIMEOUT_S
    while any(e.kind == "watcher" and _lives(e) for e in entries) and time.monotonic() < deadline:
        time.sleep(0.1)


def main() -> None:
    """Wait for the end of the orchestrator, then undo the journal named on the command line."""
    journal = Journal(Path(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.CRITICAL)
    _say("watching")
    sys.stdin.buffer.read()
    for failure in Undo(SystemRunner()).all(journal.entries()):
        _say(failure)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
