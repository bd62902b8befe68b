"""Whether LVM may see the disks of leases, and those of the volumes in use: filters and the devices file.

Rules as LVM 2.03.16 follows them (tried out): a devices file in use makes LVM ignore both filters, and `vgextend` puts
a lease's disk into it. Without one, the first pattern that matches a name decides for that name, and a device is hidden
if any of its names is refused and none is let in.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from string import ascii_lowercase

from ramshare.linux.host_checks.lvm_settings import strings, text, whole_configuration
from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.proc import read

LEASE_PATTERN = "a|^/dev/disk/by-path/ip-.*-iscsi-iqn.2026-11.io.ramshare:.*|"
"""Lets in what is a lease, by udev's name for it."""
_OTHER_NAMES = (
    "/dev/disk/by-path/ip-192.0.2.1:3260-iscsi-iqn.2026-11.io.ramshare:hosta.l1-1-lun-1",
    "/dev/disk/by-id/scsi-360000000000000000e00000000010001",
    "/dev/disk/by-id/wwn-0x60000000000000000e00000000010001",
)
"""How udev names a lease's disk besides `/dev/sdX`; the numbers differ."""
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class LvmSight:
    """What decides which disks LVM sees."""

    settings: Mapping[str, str] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    """Names of the host's disks, `sda`: a lease gets another one."""
    devices_file: str | None = None
    """Its path if it is in use."""
    devices_file_writable: bool = True
    hidden_volumes: tuple[str, ...] = ()
    """Device-mapper names of active logical volumes whose group LVM does not show."""


def observe(host: Host) -> LvmSight:
    """Ask LVM for its configuration and its groups, and the kernel for its disks and active volumes."""
    settings = whole_configuration(host.runner)
    place = host.root / os.environ.get("LVM_SYSTEM_DIR", "/etc/lvm").lstrip("/")
    path = place / "devices" / text(settings, "devices/devicesfile", "system.devices")
    used = settings.get("devices/use_devicesfile") == "1" and path.is_file()
    shown = host.runner.run(["lvm", "vgs", "--noheadings", "-o", "vg_uuid"], ok=(0, 5)).stdout
    groups = {line.strip().replace("-", "") for line in shown.splitlines()}
    return LvmSight(
        settings,
        frozenset(entry.name for entry in (host.root / "sys/block").glob("sd*")),
        f"/{path.relative_to(host.root)}" if used else None,
        os.access(path, os.W_OK) and os.access(path.parent, os.W_OK),
        tuple(sorted(name for name, vg in _active_volumes(host) if vg not in groups)),
    )


def judge(facts: LvmSight) -> list[Finding]:
    """Say what keeps LVM from seeing leases or the volumes in use."""
    found = [*_directories(facts), *(_devices_file(facts) if facts.devices_file else _filters(facts))]
    for name in facts.hidden_volumes:
        place = "the devices file" if facts.devices_file else "a filter"
        found.append(
            Finding(
                f"LVM does not show the group of {name}, which is in use: {place} hides its disks, and nothing can be "
                "borrowed for it",
                "`lvmdevices --adddev DEVICE` for its disks, or `lvmconfig devices/filter devices/global_filter`",
            )
        )
    return found


def lets_in(patterns: Iterable[str], names: Iterable[str]) -> bool:
    """Whether a filter of LVM's lets in a device that has these names."""
    wanted = [_compiled(pattern) for pattern in patterns if len(pattern) > 2]
    verdicts = {next((accept for accept, regex in wanted if regex.search(name)), None) for name in names}
    return True in verdicts or False not in verdicts


def _directories(facts: LvmSight) -> list[Finding]:
    scan = strings(facts.settings, "devices/scan") or ["/dev"]
    if any(f"{place.rstrip('/')}/" == "/dev/" for place in scan):
        return []
    return [
        Finding(
            f"devices/scan has LVM look for disks in {', '.join(scan)} only: it does not know a lease as /dev/sdX",
            'set scan = [ "/dev" ] in section devices of /etc/lvm/lvm.conf',
            blocks=True,
        )
    ]


def _filters(facts: LvmSight) -> list[Finding]:
    letters = [*ascii_lowercase, *(f"a{letter}" for letter in ascii_lowercase)]
    free = [f"/dev/sd{letter}" for letter in letters if f"sd{letter}" not in facts.taken]
    found = []
    for key in ("devices/filter", "devices/global_filter"):
        patterns = strings(facts.settings, key)
        hidden = next((disk for disk in free if not lets_in(patterns, (disk, *_OTHER_NAMES))), None)
        if hidden is not None:
            found.append(
                Finding(
                    f"{key} hides a lease's disk (for example {hidden}) from LVM: no lease can join a volume group",
                    f'put "{LEASE_PATTERN}" first in {key.partition("/")[2]} of /etc/lvm/lvm.conf '
                    f"(`lvmconfig {key}` shows what is set)",
                    blocks=True,
                )
            )
    return found


def _devices_file(facts: LvmSight) -> list[Finding]:
    found = []
    if not facts.devices_file_writable:
        found.append(
            Finding(
                f"LVM sees only disks in {facts.devices_file} and cannot write it: no lease that joins is seen again",
                f"make {facts.devices_file} and its directory writable, or set use_devicesfile = 0",
                blocks=True,
            )
        )
    if text(facts.settings, "devices/search_for_devnames", "auto") == "none":
        found.append(
            Finding(
                f"devices/search_for_devnames is none: with {facts.devices_file}, LVM does not find a lease again that "
                "has another name after its session was lost",
                'set search_for_devnames = "auto" in section devices of /etc/lvm/lvm.conf',
            )
        )
    return found


def _active_volumes(host: Host) -> Iterable[tuple[str, str]]:
    """Yield name and group (its UUID without dashes) of the logical volumes that the kernel has."""
    for entry in (host.root / "sys/block").glob("dm-*/dm"):
        uuid = read(entry / "uuid").strip()
        if uuid.startswith("LVM-"):
            yield read(entry / "name").strip(), uuid[4:36]


def _compiled(pattern: str) -> tuple[bool, re.Pattern[str]]:
    """Return whether a pattern (`a|regex|`, any delimiter) lets in, and its expression; one nobody knows fits none."""
    end = _CLOSING.get(pattern[1], pattern[1])
    try:
        return pattern[0] == "a", re.compile(pattern[2:].removesuffix(end))
    except re.error:
        return True, re.compile(r"(?!)")
