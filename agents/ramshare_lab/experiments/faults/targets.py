"""The iSCSI targets of lenders' hosts, from the outside: which processes they are, and how to kill them."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from ramshare.messages.names import PREFIX
from ramshare_lab.cluster.blueprint import control_port
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.netns import NETNS_DIR

_LIO_GROUPS = f"/sys/kernel/config/target/iscsi/{PREFIX}:*/tpgt_1/enable"
_STOP_LIO = f"for group in {_LIO_GROUPS}; do echo 0 > $group; done"


def kill_target(lab: Lab, lender: str) -> None:
    """Kill the tgtd of a lender's host; LIO, which no one can kill, stops serving as if its owner had said so."""
    host = lender.partition(".")[2]
    if (vm := lab.vms.get(host)) is not None:
        vm.shell.run(["sh", "-c", _STOP_LIO if lab.spec.target == "lio" else "kill -9 $(pidof tgtd)"])
        return
    for pid in _pids(lab, host):
        os.kill(pid, signal.SIGKILL)


def serves(lab: Lab, lender: str) -> bool:
    """Whether a lender's target serves anything (LIO), or runs at all (tgtd)."""
    host = lender.partition(".")[2]
    if (vm := lab.vms.get(host)) is not None:
        look = f"grep -q 1 {_LIO_GROUPS}" if lab.spec.target == "lio" else "pidof tgtd"
        return vm.shell.run(["sh", "-c", look], ok=range(256)).returncode == 0
    return bool(_pids(lab, host))


def _pids(lab: Lab, host: str) -> list[int]:
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
