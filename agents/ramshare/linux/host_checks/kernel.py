"""Whether the running kernel has what a borrower's work takes, and no fault that it would meet."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ramshare.errors import ExitCode
from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.proc import read

MODULES = {
    "dm_mirror": "move volumes (pvmove)",
    "dm_raid": "mirror volumes",
    "raid1": "mirror volumes",
    "dm_crypt": "encrypt pages on leases",
    "iscsi_tcp": "open iSCSI sessions",
    "sd_mod": "use the disks of leases",
    "loop": "swap through a queue (ramshare-swap@.service)",
}
"""What a borrower has the kernel do, by the module that does it."""
RAID_HANGS = ((6, 7), (6, 8))
"""Kernels in which a raid1 of device mapper may hang for good when it is taken apart under load (dm-raid, mended in
6.9 and in 6.8.y of distributions that took the fix)."""
OLDEST = (5, 10)
"""The oldest kernel that is tried (Debian 11's); a read error of swap does not end the machine from 5.19 on."""


@dataclass(frozen=True)
class Kernel:
    """What runs, and what it can load."""

    release: str
    modules: frozenset[str] | None
    """Names with underscores, of what is loaded, built in or can be loaded; None: nothing is known of this release."""

    @property
    def version(self) -> tuple[int, int] | None:
        """Major and minor; None for a release that begins otherwise."""
        match = re.match(r"(\d{1,4})\.(\d{1,4})", self.release)
        return (int(match[1]), int(match[2])) if match else None


def observer(release: Callable[[], str] = lambda: os.uname().release) -> Callable[[Host], Kernel]:
    """Return what looks at the kernel of that release."""

    def observe(host: Host) -> Kernel:
        running = release()
        return Kernel(running, _modules(host.root, running))

    return observe


def judge(facts: Kernel) -> list[Finding]:
    """Say what the kernel lacks, and which of its faults a borrower would meet."""
    found = []
    if facts.version in RAID_HANGS:
        what = f"Linux {facts.release} may hang for good when a mirror is taken apart (dm-raid of 6.7 and 6.8)"
        found.append(Finding(what, "boot another kernel (apt-get install linux-image-amd64), or borrow by --mode move"))
    if facts.version is not None and facts.version < OLDEST:
        what = f"Linux {facts.release} is older than anything that ramshare was tried with"
        found.append(Finding(what, "boot Linux 5.10 or newer: apt-get install linux-image-amd64"))
    if facts.modules is None:
        what = f"/lib/modules/{facts.release} is not there: this kernel can load no module any more"
        return [
            *found,
            Finding(what, "reboot into the kernel that is installed", blocks=True, exit_code=ExitCode.MISSING_PART),
        ]
    for name, purpose in MODULES.items():
        if name not in facts.modules:
            mend = (
                f"modprobe {name}; where there is none, apt-get install linux-image-amd64 (not a -cloud- one), reboot"
            )
            blocks = name not in ("loop", "raid1", "dm_raid")
            what = f"the kernel has no module {name}: it cannot {purpose}"
            found.append(Finding(what, mend, blocks=blocks, exit_code=ExitCode.MISSING_PART))
    return found


def _modules(root: Path, release: str) -> frozenset[str] | None:
    loaded = {entry.name for entry in (root / "sys/module").glob("*")}
    place = next((p for top in ("lib", "usr/lib") if (p := root / top / "modules" / release).is_dir()), None)
    if place is None:
        return frozenset(loaded) if set(MODULES) <= loaded else None
    listed = [line for name in ("modules.dep", "modules.builtin") for line in _lines(place / name)]
    return frozenset(
        {*loaded, *(Path(line.partition(":")[0]).name.partition(".ko")[0].replace("-", "_") for line in listed)}
    )


def _lines(path: Path) -> list[str]:
    try:
        return read(path).splitlines()
    except FileNotFoundError:
        return []
