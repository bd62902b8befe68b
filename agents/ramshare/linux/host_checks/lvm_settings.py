"""What lvm.conf makes LVM and dmeventd do with our volumes, besides which disks they see (`lvm_filters.py`).

How LVM prints is none of it: that is pinned (`lvm_config.py`). What an owner decided about his storage is not
overridden but said.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.run import Commands

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')

_PLAIN = 'log/prefix="  " log/command_names=0 log/verbose=0'
"""Keeps lines of other kinds out of what is read."""

_STOPS = {
    "global/test": ("1", "LVM runs in test mode and changes nothing", "test = 0"),
    "global/metadata_read_only": ("1", "LVM refuses every change of a volume group", "metadata_read_only = 0"),
    "global/activation": ("0", "LVM does not talk to the kernel's device mapper", "activation = 1"),
}
"""Setting, its value that stops every borrower, what it does, what to set instead."""
_GROWS = {
    "activation/thin_pool_autoextend_threshold": "thin pools",
    "activation/snapshot_autoextend_threshold": "snapshots",
    "activation/vdo_pool_autoextend_threshold": "VDO pools",
}
"""Below 100 dmeventd extends them by itself, onto any free extents of the group."""


@dataclass(frozen=True)
class LvmSettings:
    """The configuration as LVM has put it together."""

    settings: Mapping[str, str] = field(default_factory=dict)


def observe(host: Host) -> LvmSettings:
    """Ask LVM."""
    return LvmSettings(whole_configuration(host.runner))


def judge(facts: LvmSettings) -> list[Finding]:
    """Say which settings work against a borrower."""
    settings = facts.settings
    found = [
        Finding(f"{key} = {value}: {what}", f"set {instead} in /etc/lvm/lvm.conf", blocks=True)
        for key, (value, what, instead) in _STOPS.items()
        if settings.get(key) == value
    ]
    if volumes := strings(settings, "activation/volume_list"):
        found.append(
            Finding(
                f"activation/volume_list lets LVM activate only {', '.join(volumes)}: what attaching a volume of "
                "any other group needs stays inactive",
                "add the groups of your swap volumes to volume_list in /etc/lvm/lvm.conf",
            )
        )
    return [*found, *(_dmeventd(settings) if settings.get("activation/monitoring", "1") != "0" else [])]


def whole_configuration(runner: Commands) -> dict[str, str]:
    """Return every setting that LVM uses, `section/key` to its value as written. Raises `RamshareError`."""
    return parse_configuration(runner.run(["lvm", "lvmconfig", "--type", "full", "--config", _PLAIN]).stdout)


def parse_configuration(printed: str) -> dict[str, str]:
    """Read what `lvmconfig` prints: sections in braces, one setting a line."""
    section, found = "", {}
    for line in printed.splitlines():
        name, equals, value = line.strip().partition("=")
        if line.rstrip().endswith("{") and not equals:
            section = name.removesuffix("{").strip()
        elif equals and section:
            found[f"{section}/{name.strip()}"] = value.strip()
    return found


def strings(settings: Mapping[str, str], key: str) -> list[str]:
    """Return the strings of a list (or of a single value)."""
    return [re.sub(r"\\(.)", r"\1", part) for part in _STRING.findall(settings.get(key, ""))]


def text(settings: Mapping[str, str], key: str, default: str = "") -> str:
    """Return one string."""
    return next(iter(strings(settings, key)), default)


def _dmeventd(settings: Mapping[str, str]) -> list[Finding]:
    found = []
    if text(settings, "activation/raid_fault_policy") == "allocate":
        found.append(
            Finding(
                "activation/raid_fault_policy is allocate: when a lender dies, dmeventd builds a new leg on what is "
                "free in the group, while ramshare drops the lost one",
                'set raid_fault_policy = "warn" in section activation of /etc/lvm/lvm.conf',
                blocks=True,
            )
        )
    for key, what in _GROWS.items():
        percent = settings.get(key, "100")
        if percent.isdigit() and int(percent) < 100:
            found.append(
                Finding(
                    f"{key} is {percent}: dmeventd may extend {what} onto a lease's disk, which goes with its lender",
                    f"keep {what} in other groups than swap, or set {key.partition('/')[2]} = 100",
                )
            )
    return found
