"""The programs that the agents' work takes: looked for before an agent is made, and by `ramshare doctor`."""

from collections.abc import Mapping

from ramshare.settings import LenderSettings, load

TOOLS: Mapping[str, tuple[str, ...]] = {
    "lender": ("mount", "umount"),
    "borrower": ("iscsiadm", "iscsid", "lvm", "dmsetup", "cryptsetup"),
}
"""What each role needs beside Python; the others need nothing."""
TARGET_TOOLS: Mapping[str, tuple[str, ...]] = {"tgt": ("tgtd", "tgtadm"), "lio": ("modprobe",)}
"""What a lender needs besides, by what serves its leases."""


def tools_of(role: str) -> tuple[str, ...]:
    """Return what a role needs with the settings of this host. Raises `SettingsError`."""
    return TOOLS[role] + (TARGET_TOOLS[load(LenderSettings).target] if role == "lender" else ())
