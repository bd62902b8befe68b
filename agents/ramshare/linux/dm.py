"""The device mapper below LVM: what a volume's table says, and the way out of a suspended or wedged device.

LVM refuses to touch a group while a device is missing in the middle of a pvmove; tables still can be read and replaced
here. Used by the borrower's rescue and its watchdog.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from ramshare.linux.proc import read
from ramshare.linux.run import CommandError, Commands

_TIMEOUT_S = 60.0
_SEPARATOR = "|"
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


def dm_name(vg: str, lv: str) -> str:
    """Return the device-mapper name of a logical volume: hyphens in names are doubled."""
    return f"{vg.replace('-', '--')}-{lv.replace('-', '--')}"


def suspended_names(sys: Path = Path("/sys")) -> set[str]:
    """Return the names of the devices whose I/O is being held back; reads sysfs only, so it works while swap stalls."""
    names = set()
    for entry in (sys / "block").glob("dm-*/dm"):
        with contextlib.suppress(OSError):
            if read(entry / "suspended").strip() == "1":
                names.add(read(entry / "name").strip())
    return names


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

    def remove(self, name: str) -> None:
        """Remove a device that nothing uses; none is success."""
        try:
            self._run("remove", name)
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
