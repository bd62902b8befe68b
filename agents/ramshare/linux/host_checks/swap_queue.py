"""Swap without a bound: a logical volume has no request queue, so nothing limits the pages that wait for its disk.

See `linux/swap.py` for what that does, and `ramshare-swap@.service` for the remedy. A guest's disk is such a queue by
itself, so this concerns what the host itself swaps to only.
"""

from ramshare.linux.dm import volume_of_device
from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.swap import read_swaps


def observe(host: Host) -> tuple[str, ...]:
    """Return the logical volumes that this host swaps to directly, as `VG/LV`."""
    root = host.root
    direct = [swap.path for swap in read_swaps(root / "proc") if not swap.has_queue]
    found = (volume_of_device(str(root / path.lstrip("/")), root / "sys", root / "dev") for path in direct)
    return tuple(volume for volume in found if volume is not None)


def judge(volumes: tuple[str, ...]) -> list[Finding]:
    """Find every one of them: it works, but a storm may wedge the host while LVM changes the volume."""
    return [
        Finding(
            f"this host swaps to {volume} directly, so nothing bounds the pages that wait for a slow disk: in a swap "
            "storm a lender's death may stall it for minutes, and a move may wedge it",
            f"systemctl enable $(systemd-escape --template=ramshare-swap@.service {volume}), take the line for it "
            "out of /etc/fstab, and reboot",
        )
        for volume in volumes
    ]
