"""The programs that the agents' work takes: looked for before an agent is made, and by `ramshare doctor`."""

from collections.abc import Mapping

TOOLS: Mapping[str, tuple[str, ...]] = {
    "lender": ("mount", "umount", "tgtd", "tgtadm"),
    "borrower": ("iscsiadm", "iscsid", "lvm", "dmsetup", "cryptsetup"),
}
"""What each role needs beside Python; the others need nothing."""
