"""Whether the kernel's own target (LIO) is there, for a lender that is told to serve by it."""

from dataclasses import dataclass

from ramshare.linux.configfs import Configfs
from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.lio import MODULES, Lio
from ramshare.linux.portal import PortalError, told_portal
from ramshare.messages.names import PREFIX
from ramshare.settings import LenderSettings, load

AUTOMATIC_SAVE = "etc/target/saveconfig.json"
"""Where targetcli keeps a host's own LIO configuration, and restores it from at boot."""


@dataclass(frozen=True)
class LioFacts:
    """What a host has for LIO."""

    wanted: bool = False
    missing: tuple[str, ...] = ()
    """Modules that are neither loaded nor there to be loaded."""
    hindrance: str = ""
    """What keeps LIO from the address."""
    saved: bool = False
    """Whether targetcli has saved ours along with the host's own configuration."""


def observe(host: Host) -> LioFacts:
    """Ask modprobe, without loading anything; look where LIO serves now."""
    settings = load(LenderSettings)
    if settings.target != "lio":
        return LioFacts()
    absent = [name for name in ("configfs", *MODULES) if not (host.root / "sys/module" / name).is_dir()]
    missing = [name for name in absent if host.runner.run(["modprobe", "-n", "-q", name], ok=range(256)).returncode]
    try:
        lio = Lio(host.runner, told_portal(settings), configfs=Configfs(host.root / "sys/kernel/config/target"))
        hindrance = lio.misplaced()
    except PortalError:
        hindrance = ""  # `lender_portal.py` says it
    file = host.root / AUTOMATIC_SAVE
    saved = file.is_file() and PREFIX in file.read_text(errors="replace")
    return LioFacts(True, tuple(missing), hindrance, saved)


def judge(facts: LioFacts) -> list[Finding]:
    """Return what is in the way."""
    found = []
    if facts.missing:
        names = ", ".join(facts.missing)
        mend = "boot a kernel that has LIO (Debian's linux-image-amd64 has it), or set RAMSHARE_LENDER_TARGET=tgt"
        found.append(Finding(f"this kernel has no {names}, so nothing can be lent by LIO", mend, blocks=True))
    if facts.hindrance:
        what, _, mend = facts.hindrance.partition(": ")
        mend = mend or "targetcli ls /iscsi shows what is served"
        found.append(Finding(what, f"{mend}; RAMSHARE_LENDER_ADDRESS and RAMSHARE_LENDER_PORT choose another", True))
    if facts.saved:
        what = (
            "targetcli has saved leases with this host's own configuration: at boot they would come back without memory"
        )
        found.append(Finding(what, f"remove ours from /{AUTOMATIC_SAVE}: targetcli, delete them, saveconfig"))
    return found
