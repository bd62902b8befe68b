"""The initiator's sessions as the kernel sees them, and the disks behind them.

sysfs is read directly: waiting for udev's links would depend on a daemon that may itself be swapped out. Used by the
borrower.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ramshare.linux.crypt_names import DIRECTORY, UUID_PREFIX
from ramshare.linux.proc import read

SYS = Path("/sys")

SWAP_QUEUE: Mapping[str, str] = {
    # Before `swapon`: the kernel freezes it then, and read-ahead by VMA and swap clusters depend on it.
    "rotational": "0",
    "scheduler": "none",
    # Swap reads ahead by itself; the block layer's read-ahead does not apply to it and only hurts LVM's label scans.
    "read_ahead_kb": "0",
    "nomerges": "0",
    # Writes to memory do not delay its reads, so there is nothing to throttle write-back for.
    "wbt_lat_usec": "0",
    # Complete on the CPU that asked.
    "rq_affinity": "2",
    # Random numbers from network interrupts cost more than they bring.
    "add_random": "0",
}
"""Queue settings for a leased disk, each best effort."""


@dataclass(frozen=True)
class Session:
    """One iSCSI session."""

    id: int
    iqn: str
    address: str
    """`address:port` of the target's portal."""
    state: str
    """LOGGED_IN, FAILED (waiting to come back) or FREE (given up)."""
    device: str | None
    """`/dev/sdX`, or None while there is no disk."""
    recovery_tmo_s: int | None
    device_state: str = ""
    """The SCSI device's own state: running, blocked, transport-offline, offline."""
    mapper: str | None = None
    """The encrypted device over the disk, as `/dev/mapper/NAME`."""

    @property
    def healthy(self) -> bool:
        """Whether I/O to the disk can be answered now."""
        return self.state == "LOGGED_IN" and self.device is not None and self.device_state in ("", "running")


def sessions(root: Path = SYS) -> list[Session]:
    """Return every session of this host, by id. Entries that vanish while being read are left out."""
    found = []
    for entry in (root / "class/iscsi_session").glob("session*"):
        with contextlib.suppress(OSError, ValueError):
            found.append(_session(entry, root))
    return sorted(found, key=lambda session: session.id)


def tune_disk(device: str, settings: Mapping[str, str] = SWAP_QUEUE, root: Path = SYS) -> dict[str, str]:
    """Set the disk's queue for swap and return what the kernel has now; refused settings are left as they are."""
    queue = queue_of(device, root)
    for name, value in settings.items():
        with contextlib.suppress(OSError):
            (queue / name).write_text(value)
    return queue_settings(device, settings, root)


def queue_settings(device: str, names: Iterable[str], root: Path = SYS) -> dict[str, str]:
    """Return settings of the disk's queue as the kernel has them; empty text for one that it has not."""
    queue = queue_of(device, root)
    return {name: _read(queue / name) for name in names}


def queue_of(device: str, root: Path) -> Path:
    """Return the queue's directory; a partition has that of its disk."""
    entry = (root / "class/block" / Path(device).name).resolve()
    return entry / "queue" if (entry / "queue").is_dir() else entry.parent / "queue"


def multipath_map_over(device: str, root: Path = SYS) -> str:
    """Return the name of the multipath map that holds the disk, empty for none."""
    return _held_by(device, "mpath-", root)


def _held_by(device: str, uuid_prefix: str, root: Path) -> str:
    for holder in sorted((root / "class/block" / Path(device).name / "holders").glob("dm-*")):
        if _read(holder / "dm/uuid").startswith(uuid_prefix):
            return _read(holder / "dm/name") or holder.name
    return ""


def delete_disk(device: str, root: Path = SYS) -> None:
    """Tear the disk out of the kernel, failing its outstanding I/O; for a session whose target is gone for good."""
    with contextlib.suppress(FileNotFoundError):
        (root / "class/block" / Path(device).name / "device/delete").write_text("1")


def _session(entry: Path, root: Path) -> Session:
    disks = sorted((entry / "device").glob("target*/*/block/*"))
    tmo = _read(entry / "recovery_tmo")
    mapper = _held_by(disks[0].name, UUID_PREFIX, root) if disks else ""
    return Session(
        id=int(entry.name.removeprefix("session")),
        iqn=read(entry / "targetname").strip(),
        address=_portal(entry),
        state=_read(entry / "state"),
        device=f"/dev/{disks[0].name}" if disks else None,
        recovery_tmo_s=int(tmo) if tmo.isdigit() else None,
        device_state=_read(disks[0].parent.parent / "state") if disks else "",
        mapper=f"{DIRECTORY}{mapper}" if mapper else None,
    )


def _portal(entry: Path) -> str:
    for connection in sorted((entry / "device").glob("connection*/iscsi_connection/connection*")):
        address, port = _read(connection / "persistent_address"), _read(connection / "persistent_port")
        if address:
            return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return ""


def _read(path: Path) -> str:
    try:
        return read(path).strip()
    except OSError:
        return ""
