"""Two swaps on one device: the kernel takes a volume and a loop device over it, and each overwrites the other's pages.

What is swapped to now is in `/proc/swaps`; what will be at the next boot (or `swapon --all`) in `/etc/fstab` and among
the enabled `ramshare-swap@` units.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.proc import read, unescaped
from ramshare.linux.swap import Identity, identity, read_swaps

_LINKS = {"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel", "ID": "by-id"}
"""How fstab(5) names devices, and the directory below `/dev/disk` in which udev does."""
_UNIT = "ramshare-swap@"


@dataclass(frozen=True)
class Swapper:
    """Somebody who swaps to a device, or is going to."""

    who: str
    """As people find it."""
    device: Identity
    through_loop: bool
    active: bool = False


def observe(host: Host) -> tuple[Swapper, ...]:
    """Return every use of a device as swap."""
    return (*_active(host.root), *_fstab(host.root), *_units(host.root))


def judge(uses: tuple[Swapper, ...]) -> list[Finding]:
    """Find devices that are used twice: now, which destroys pages, or both ways from the next boot on."""
    found = []
    for device in dict.fromkeys(use.device for use in uses):
        here = [use for use in uses if use.device == device]
        now = [use for use in here if use.active]
        if len(now) > 1:
            found.append(
                Finding(
                    f"{_names(now)} are one device, and each overwrites the other's pages",
                    "keep ramshare-swap@, take fstab's line out, and reboot",
                    blocks=True,
                )
            )
        elif len({use.through_loop for use in here}) > 1:
            found.append(
                Finding(
                    f"{_names(here)} are one device, swapped to both directly and through a loop device",
                    "keep ramshare-swap@, take fstab's line out: a logical volume has no queue of its own",
                )
            )
    return found


def _names(uses: list[Swapper]) -> str:
    return " and ".join(use.who for use in uses)


def _active(root: Path) -> Iterator[Swapper]:
    for swap in read_swaps(root / "proc"):
        yield Swapper(f"the swap {swap.path}", identity(swap.path, root), swap.has_queue, active=True)


def _fstab(root: Path) -> Iterator[Swapper]:
    try:
        lines = read(root / "etc/fstab").splitlines()
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        words = line.split("#", 1)[0].split()
        if len(words) < 3 or words[2] != "swap" or "noauto" in "".join(words[3:4]).split(","):
            continue
        path = _path(words[0])
        yield Swapper(f"line {number} of /etc/fstab ({words[0]})", identity(path, root), path.startswith("/dev/loop"))


def _path(spec: str) -> str:
    """Return the path of what fstab names: a path, or a tag such as `UUID="..."`."""
    tag, equals, value = spec.partition("=")
    if not equals or tag not in _LINKS:
        return unescaped(spec)
    name = re.sub(r"[^\w#+\-.:=@]", lambda odd: f"\\x{ord(odd[0]):02x}", value.strip("\"'"))
    return f"/dev/disk/{_LINKS[tag]}/{name}"


def _units(root: Path) -> Iterator[Swapper]:
    for link in sorted((root / "etc/systemd/system").glob(f"*.wants/{_UNIT}*.service")):
        instance = link.name.removeprefix(_UNIT).removesuffix(".service")
        yield Swapper(link.name, identity(f"/dev/{unescape(instance)}", root), through_loop=True)


def unescape(instance: str) -> str:
    """Undo systemd-escape(1): a hyphen stands for a slash, `\\x2d` for a hyphen."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda octet: chr(int(octet[1], 16)), instance.replace("-", "/"))
