"""Whether the machine's clock can be believed: messages and certificates are judged by their times."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

from ramshare.linux.host_checks.model import Finding, Host

_STA_UNSYNC = 0x40
"""In `timex.status`, see adjtimex(2): nobody disciplines the clock."""
_TIMEX_BYTES, _STATUS_AT = 208, 40
"""Size of `struct timex` on 64-bit Linux, and where its `status` lies: after `modes` and four longs."""


@dataclass(frozen=True)
class Clock:
    """What the kernel knows of its clock."""

    synchronised: bool


def kernel_clock() -> Clock:
    """Ask the kernel, without changing anything. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    if libc.adjtimex(timex) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    return Clock(not ctypes.c_int.from_buffer(timex, _STATUS_AT).value & _STA_UNSYNC)


def observer(ask: Callable[[], Clock] = kernel_clock) -> Callable[[Host], Clock]:
    """Return what asks the kernel."""
    return lambda _host: ask()


def judge(facts: Clock) -> list[Finding]:
    """Say if nobody keeps the clock right."""
    if facts.synchronised:
        return []
    what = "nobody keeps this clock right: with one that is off, messages count as old and certificates as invalid"
    return [Finding(what, "apt-get install systemd-timesyncd && timedatectl set-ntp true (or run chrony)")]
