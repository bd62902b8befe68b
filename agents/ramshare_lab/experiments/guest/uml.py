"""A guest inside the borrower's host whose swap disk is the volume that its host moves about: the paper's DomU.

The guest is User-Mode Linux, a kernel of its own that runs as a process of the host (the paper's Dom0). It thrashes
checked pages on its own swap and never hears of LVM, iSCSI or leases. Used by `scenario.py`; guests that are virtual
machines under libvirt, with balloons, are in `cluster/libvirt_host.py`.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare.linux.run import find_tool, require_tools
from ramshare_lab.cluster.remote import RemoteShell
from ramshare_lab.cluster.spec import VOLUME
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.load.thrash import Thrash
from ramshare_lab.load.thrash_program import LineProcess, binary

TOOL = "linux.uml"
"""Debian's name; its alternative is called `linux`."""
HERE = Path(__file__).resolve().parent
UML_DIRECTORY = "/run/guest"
"""Where the guest's memory and its console socket lie on the host; a RAM file system (see `uml_boot.sh`)."""

HOST_SHARE_BYTES = 24 * MIB
"""What the guest may cost its host beyond its memory: User-Mode Linux's program (some 10 MiB of it are in use) and the
page cache of its disk. Without a limit that cache grew until it held all that the guest had swapped."""
SILENCE_S = 90.0
"""A guest's console may be silent so long: its kernel is emulated twice over."""

_HEARTBEAT = re.compile(r"guest ([0-9a-f-]{36}) (\d+\.\d+)\s*")


class GuestError(RamshareError):
    """The guest did not boot, or broke off."""


@dataclass(frozen=True)
class GuestSpec:
    """Sizes of one guest."""

    memory_bytes: int = 40 * MIB
    """Some 25 MiB are left to its processes."""
    data_bytes: int = 32 * MIB
    volume: str = VOLUME

    def argv(self, program: str, thrash: str) -> list[str]:
        """Return the command that starts it on the host: hand over the volume, then User-Mode Linux. Pure."""
        limit_bytes = self.memory_bytes + HOST_SHARE_BYTES
        prepare = [str(HERE / "uml_boot.sh"), f"/dev/{self.volume}", str(self.memory_bytes), str(limit_bytes)]
        machine = [program, f"mem={self.memory_bytes // MIB}M", "umid=guest", f"uml_dir={UML_DIRECTORY}", "quiet"]
        disks = ["rootfstype=hostfs", "rootflags=/", "ro", f"ubdb=/dev/{self.volume}"]
        words = [f"ramshare.program={thrash}", f"ramshare.size={self.data_bytes}"]
        init = ["init=/bin/busybox", "--", "sh", str(HERE / "uml_init.sh")]
        return ["/bin/sh", *prepare, *machine, *disks, "con=null", "con0=fd:0,fd:1", *words, *init]


@dataclass(frozen=True)
class Heartbeat:
    """One sign of life from the guest's own user space, once a second."""

    boot_id: str
    """Drawn at random by the guest's kernel when it boots: another one means it was restarted."""
    uptime_s: float


def parse_heartbeat(line: str) -> Heartbeat | None:
    """Return the heartbeat in a line of the guest's console, None if it is another line."""
    found = _HEARTBEAT.fullmatch(line)
    return Heartbeat(found[1], float(found[2])) if found else None


def longest_gap_s(beats: Sequence[Heartbeat]) -> float:
    """Return the longest time without a heartbeat by the guest's own clock; 0 for fewer than two."""
    return max((after.uptime_s - before.uptime_s for before, after in pairwise(beats)), default=0.0)


class Console:
    """The guest's console as a `LineProcess`: keeps heartbeats and passes the other lines on."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process
        self.beats: list[Heartbeat] = []

    def send_line(self, line: str) -> None:
        """See `LineProcess.send_line`."""
        self._process.send_line(line)

    def read_line(self, timeout_s: float) -> str | None:
        """See `LineProcess.read_line`; heartbeats do not put the time-out off."""
        deadline = time.monotonic() + timeout_s
        while True:
            line = self._process.read_line(max(0.0, deadline - time.monotonic()))
            beat = parse_heartbeat(line) if line else None
            if beat is None:
                return line
            self.beats.append(beat)

    def close(self) -> None:
        """See `LineProcess.close`."""
        self._process.close()


class Guest:
    """A guest that runs, and the microbenchmark in it. A context manager that ends the guest."""

    def __init__(self, shell: RemoteShell, spec: GuestSpec) -> None:
        """Boot it. Raises `GuestError`, or `MissingPartError` where User-Mode Linux is not installed."""
        require_tools([TOOL])
        started = time.monotonic()
        argv = spec.argv(find_tool(TOOL) or TOOL, str(binary()))
        process = shell.open(argv)
        self.console = Console(process)
        try:
            self.thrash = Thrash(self.console, silence_s=SILENCE_S)
        except RamshareError as failed:
            told = process.stderr.strip().splitlines()[-3:]
            process.close()
            raise GuestError(f"the guest did not boot: {failed.message}", " | ".join(told)) from failed
        self.boot_s = time.monotonic() - started

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *_: object) -> None:
        self.thrash.close()

    @property
    def beats(self) -> list[Heartbeat]:
        """Every heartbeat that was taken in so far; they are read along with the microbenchmark's lines."""
        return self.console.beats
