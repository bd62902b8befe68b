"""Watches that an agent keeps the contract of threads: what its loop calls touches no file and starts no process."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit.world import HandWorker

FILES = frozenset({"open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.scandir", "os.truncate"})
PROCESSES = frozenset({"subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "os.system"})

_watching: list[tuple[HandWorker, Path, int, list[str]]] = []


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    for worker, under, thread, seen in _watching:
        if worker.at_work or threading.get_ident() != thread:
            continue
        if event in PROCESSES or (event in FILES and str(arguments[0]).startswith(str(under))):
            seen.append(f"{event} {arguments[0]}")


sys.addaudithook(_heard)  # for good: it cannot be taken away again, and hears nothing while nobody watches


@contextmanager
def what_the_loop_touches(worker: HandWorker, under: Path) -> Iterator[list[str]]:
    """Yield what this thread does with files below `under`, and which processes it starts, outside of `worker`."""
    seen: list[str] = []
    entry = (worker, under, threading.get_ident(), seen)
    _watching.append(entry)
    try:
        yield seen
    finally:
        _watching.remove(entry)
