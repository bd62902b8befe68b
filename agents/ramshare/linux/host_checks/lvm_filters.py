"""Whether LVM sees leases' encrypted devices and nothing below them, and the disks of the volumes in use.

Rules as LVM 2.03.16 follows them (tried out): a devices file in use makes LVM ignore both filters, and `vgextend` puts
what it labels into it. Without one, the first pattern that matches a name decides for that name, and a device is hidden
if any of its names is refused and none is let in.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase

from ramshare.linux.crypt_names import DIRECTORY, PREFIX, mapper_name, mapper_of
from ramshare.linux.disk_identity import NAA_PREFIX
from ramshare.linux.host_checks.lvm_settings import strings, text, whole_configuration
from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.lvm_filter import STABLE_IDS
from ramshare.linux.proc import read
from ramshare.settings import BorrowerSettings, load

LEASE_PATTERN = f"a|^{DIRECTORY}{PREFIX}|"
"""Lets the encrypted device of a lease in."""
_LEASE_NAMES = (
    mapper_of("l1-1"),
    "/dev/dm-99",
    f"/dev/disk/by-id/dm-name-{mapper_name('l1-1')}",
    f"/dev/disk/by-id/dm-uuid-CRYPT-PLAIN-{mapper_name('l1-1')}",
)
"""How device mapper and udev name it."""
BARE_PATTERN = "a|^/dev/disk/by-path/ip-.*-iscsi-iqn.2026-11.io.ramshare:.*|"
"""Lets in what is a lease, by udev's name for it, where leases are not encrypted."""
_BARE_NAMES = (
    "/dev/disk/by-path/ip-192.0.2.1:3260-iscsi-iqn.2026-11.io.ramshare:hosta.l1-1-lun-1",
    f"/dev/disk/by-id/scsi-3{NAA_PREFIX}0e0000000000000000010001a",
    f"/dev/disk/by-id/wwn-0x{NAA_PREFIX}0e0000000000000000010001a",
)
"""How udev names a lease's disk besides `/dev/sdX`; the numbers differ."""
FILTER, GLOBAL_FILTER = "devices/filter", "devices/global_filter"
_LETS_ALL_IN = ("a|.*|", "a/.*/", "a|.*/|")
"""What LVM does anyway with a device that no pattern refuses; behind a refusal by one name it would undo it."""
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
    encrypt: bool = True
    """Whether this host's leases are encrypted, so that LVM need not see their disks."""


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
        load(BorrowerSettings).encrypt,
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
    bare = _bare_disks(facts)
    wanted, pattern = ([_LEASE_NAMES], LEASE_PATTERN) if facts.encrypt else (bare, BARE_PATTERN)
    found = []
    for key in (FILTER, GLOBAL_FILTER):
        patterns = strings(facts.settings, key)
        hidden = next((names[0] for names in wanted if not lets_in(patterns, names)), None)
        if hidden is not None:
            found.append(
                Finding(
                    f"{key} hides a lease (for example {hidden}) from LVM: no lease can join a volume group",
                    f'put "{pattern}" first in {key.partition("/")[2]} of /etc/lvm/lvm.conf '
                    f"(`lvmconfig {key}` shows what is set)",
                    blocks=True,
                )
            )
    return [*found, *(_exposed(facts, bare) if facts.encrypt else [])]


def _bare_disks(facts: LvmSight) -> list[tuple[str, ...]]:
    """Return the names that the disk of a next lease may have."""
    letters = [*ascii_lowercase, *(f"a{letter}" for letter in ascii_lowercase)]
    return [(f"/dev/sd{letter}", *_BARE_NAMES) for letter in letters if f"sd{letter}" not in facts.taken]


def _exposed(facts: LvmSight, bare: Sequence[Collection[str]]) -> list[Finding]:
    """Say how to keep the host's other LVM commands, udev's among them, away from what lenders may write."""
    filters = [strings(facts.settings, key) for key in (FILTER, GLOBAL_FILTER)]

    def seen(*filters: Sequence[str]) -> bool:
        return any(all(lets_in(patterns, names) for patterns in filters) for names in bare)

    if not seen(*filters):
        return []
    line = [*STABLE_IDS, *(pattern for pattern in filters[1] if pattern not in _LETS_ALL_IN)]
    if seen(line):
        mend = (
            f'put "{STABLE_IDS[0]}", "{STABLE_IDS[1]}" first in global_filter, and let your own disks in by '
            "their names in /dev/disk/by-id: a pattern for /dev/sd lets leases in, too"
        )
    else:
        quoted = ", ".join(f'"{pattern}"' for pattern in line)
        mend = f"set global_filter = [ {quoted} ] in section devices of /etc/lvm/lvm.conf"
    return [
        Finding(
            "LVM commands of this host other than ramshare's look at leased disks below their encryption: a lender who "
            "forges a label of your own volume group there hinders them",
            mend,
        )
    ]


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
