"""The iSCSI targets of lenders' hosts, from the outside: which processes they are, and how to kill them."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from ramshare_lab.cluster.blueprint import control_port
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.netns import NETNS_DIR


def kill_target(lab: Lab, lender: str) -> None:
    """Kill the tgtd of a lender's host."""
    for pid in targets_of(lab, lender):
        os.kill(pid, signal.SIGKILL)


def targets_of(lab: Lab, lender: str) -> list[int]:
    """Return the pids of the tgtd on a lender's host."""
    host = lender.partition(".")[2]
    port = control_port(lab.spec, host)
    namespace = (NETNS_DIR / lab.network.namespace(host)).stat().st_ino
    return [pid for pid in _tgtds(port) if _namespace_of(pid) == namespace]


def _tgtds(port: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words[0].endswith(b"tgtd") and str(port).encode() in words:
                    yield int(entry.name)


def _namespace_of(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return 0
