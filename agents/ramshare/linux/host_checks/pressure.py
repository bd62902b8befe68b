"""Whether the kernel tells how much tasks wait for memory (PSI): without it, need is noticed late."""

from dataclasses import dataclass

from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.proc import read

_SWITCH_ON = (
    "add psi=1 to GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub and reboot "
    "(grep PSI /boot/config-$(uname -r) says whether the kernel knows it)"
)


@dataclass(frozen=True)
class Pressure:
    """What the kernel shows."""

    available: bool
    """MemAvailable, without which nothing can be said at all."""
    psi: bool


def observe(host: Host) -> Pressure:
    """Look for both; a kernel with PSI switched off has the file and refuses to read it."""
    try:
        psi = read(host.root / "proc/pressure/memory").startswith("some ")
    except OSError:
        psi = False
    return Pressure("MemAvailable:" in read(host.root / "proc/meminfo"), psi)


def judge(facts: Pressure) -> list[Finding]:
    """Say what is missing."""
    found = []
    if not facts.available:
        found.append(
            Finding(
                "/proc/meminfo has no MemAvailable: nobody can tell what is free", "boot a newer kernel", blocks=True
            )
        )
    if not facts.psi:
        what = "the kernel does not tell memory pressure (PSI): need shows only in MemAvailable, which is later"
        found.append(Finding(what, _SWITCH_ON))
    return found
