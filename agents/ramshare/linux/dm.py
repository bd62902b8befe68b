"""The device mapper below LVM: what a volume's table says, and the way out of a suspended or wedged device.

LVM refuses to touch a group while a device is missing in the middle of a pvmove; tables still can be read and replaced
here. Used by the borrower's rescue and its watchdog.
"""

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISBLK

from ramshare.linux.lvm_names import dm_name, split_dm_name, volume_of_path
from ramshare.linux.proc import read
from ramshare.linux.run import CommandError, Commands

__all__ = ["DmDevice", "Dmsetup", "dm_name", "exists", "suspended_names", "volume_of_device", "writes"]

_TIMEOUT_S = 60.0
_SEPARATOR = "|"
_LV_UUID = re.compile(r"[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}")
_COLUMNS = "name,uuid,major,minor,suspended,open"


@dataclass(frozen=True)
class DmDevice:
    """A device-mapper device. LVM's have a `uuid` that starts with `LVM-`."""

    name: str
    uuid: str
    major: int
    minor: int
    suspended: bool
    open_count: int


def volume_of_device(text: str, sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> str | None:
    """Return the `VG/LV` of this host that a device path or UUID stands for, None if it is none.

    Understood are any path to it, also one of a loop device over it (as `swapon --show` prints), the UUID of what lies
    on it (`UUID=…` in fstab) and LVM's own UUID of the volume. Reads links and sysfs only.
    """
    wanted = text.removeprefix("UUID=").strip('"')
    path = Path(text) if text.startswith("/") else dev / "disk/by-uuid" / wanted
    with contextlib.suppress(OSError, ValueError):
        block = sys / "class/block" / path.resolve(strict=True).name
        backing = block / "loop/backing_file"
        if backing.exists():
            return volume_of_device(backing.read_text().strip(), sys, dev)
        return _volume_of(block / "dm")
    for entry in sorted((sys / "block").glob("dm-*/dm")):
        with contextlib.suppress(OSError):
            if (entry / "uuid").read_text().strip().endswith(wanted.replace("-", "")) and _LV_UUID.fullmatch(wanted):
                return _volume_of(entry)
    return None


def block_number(node: Path) -> str | None:
    """Return `major:minor` of a block device, None for anything else."""
    found = node.stat()
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}" if S_ISBLK(found.st_mode) else None


def volume_below(
    text: str,
    sys: Path = Path("/sys"),
    dev: Path = Path("/dev"),
    number: Callable[[Path], str | None] = block_number,
) -> str | None:
    """Return the `VG/LV` that a block device is, or lies on: a partition of it, a loop device or a mapping over it.

    None if it lies on none, or on several. Reads links and sysfs only.
    """
    with contextlib.suppress(OSError, ValueError):
        node = (dev / text.removeprefix("/dev/")).resolve(strict=True)
        # By its number, since without udev a node in /dev/mapper is no link to its dm-N.
        known = number(node)
        return _below(sys / "dev/block" / known if known else sys / "class/block" / node.name, sys, dev)
    return volume_of_path(text)  # of a device that is not there its name is all there is


def _below(block: Path, sys: Path, dev: Path) -> str | None:
    if (block / "partition").exists():
        return _below(sys / "class/block" / block.resolve().parent.name, sys, dev)
    if (block / "loop/backing_file").exists():
        return volume_below((block / "loop/backing_file").read_text().strip(), sys, dev)
    if (block / "dm").exists() and (volume := _volume_of(block / "dm")) is not None:
        return volume
    found = {_below(sys / "class/block" / slave.name, sys, dev) for slave in (block / "slaves").glob("*")}
    return found.pop() if len(found) == 1 else None


def _volume_of(entry: Path) -> str | None:
    """Return the volume of a device's `dm` directory; only of LVM's own, whose names follow its rules."""
    found = split_dm_name((entry / "name").read_text().strip())
    is_lvm = (entry / "uuid").read_text().startswith("LVM-")
    return "/".join(found) if found and is_lvm else None


def suspended_names(sys: Path = Path("/sys")) -> set[str]:
    """Return the names of the devices whose I/O is being held back; reads sysfs only, so it works while swap stalls."""
    names = set()
    for entry in (sys / "block").glob("dm-*/dm"):
        with contextlib.suppress(OSError):
            if read(entry / "suspended").strip() == "1":
                names.add(read(entry / "name").strip())
    return names


def exists(name: str, sys: Path = Path("/sys")) -> bool:
    """Whether there is a device of this name. Reads sysfs only."""
    for entry in (sys / "block").glob("dm-*/dm/name"):
        with contextlib.suppress(OSError):
            if read(entry).strip() == name:
                return True
    return False


def writes(name: str, sys: Path = Path("/sys")) -> tuple[int, int]:
    """Return how many writes of the device are under way, and how many it has done; zeros for one that is not there.

    Reads sysfs only (`inflight` and the fifth field of `stat`, see the kernel's Documentation/block/stat.rst).
    """
    for entry in (sys / "block").glob("dm-*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if read(entry / "dm/name").strip() == name:
                return int(read(entry / "inflight").split()[1]), int(read(entry / "stat").split()[4])
    return 0, 0


class Dmsetup:
    """dmsetup on this machine."""

    def __init__(self, runner: Commands) -> None:
        self._runner = runner

    def devices(self) -> list[DmDevice]:
        """Return every device."""
        out = self._run("info", "--columns", "--noheadings", "--separator", _SEPARATOR, "-o", _COLUMNS)
        return [_device(line) for line in out.splitlines() if _SEPARATOR in line]

    def suspended(self) -> list[DmDevice]:
        """Return the devices whose I/O is being held back."""
        return [device for device in self.devices() if device.suspended]

    def table(self, name: str) -> str | None:
        """Return the device's table, None if there is no such device."""
        return self._text("table", name)

    def status(self, name: str) -> str | None:
        """Return the device's status (sync progress, health of raid legs), None if there is no such device."""
        return self._text("status", name)

    def suspend(self, name: str, *, flush: bool = True) -> None:
        """Hold the device's I/O back. Without `flush` outstanding I/O is queued again and not waited for."""
        # The volume holds no file system, so there is nothing to freeze.
        options = ["--nolockfs"] if flush else ["--nolockfs", "--noflush"]
        self._run("suspend", *options, name)

    def load(self, name: str, table: str) -> None:
        """Put a new table in place; it takes effect at the next `resume`."""
        self._run("load", name, stdin=table)

    def resume(self, name: str) -> None:
        """Let I/O go on, with the newly loaded table if there is one. A device that runs is left as it is."""
        self._run("resume", name)

    def remove(self, name: str, *, deferred: bool = False, patient: bool = False) -> None:
        """Remove a device that nothing uses; none is success. `deferred`: one in use goes with its last user.

        `patient`: udev's rules open a device for a moment when its owner has let go of it; try for five seconds.
        """
        options = ["--deferred"] if deferred else ["--retry"] if patient else []
        try:
            self._run("remove", *options, name)
        except CommandError as error:
            if "No such device" not in error.done.stderr and "does not exist" not in error.done.stderr:
                raise

    def _text(self, command: str, name: str) -> str | None:
        try:
            return self._run(command, name).strip()
        except CommandError as error:
            if "does not exist" in error.done.stderr or "No such device" in error.done.stderr:
                return None
            raise

    def _run(self, *argv: str, stdin: str = "") -> str:
        return self._runner.run(["dmsetup", *argv], timeout_s=_TIMEOUT_S, stdin=stdin).stdout


def _device(line: str) -> DmDevice:
    name, uuid, major, minor, suspended, open_count = line.strip().split(_SEPARATOR)
    return DmDevice(name, uuid, int(major), int(minor), suspended == "Suspended", int(open_count))
