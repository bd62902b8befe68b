"""What the real tools printed (kernel 6.1, LVM 2.03.16, tgt 1.0.85, open-iscsi 2.1.8), for the parsers' tests."""

from pathlib import Path

DATA = Path(__file__).parents[1] / "data"

NODE_RECORD = (DATA / "node_record.txt").read_text()
"""A node record as `iscsiadm -o new` leaves it."""
TGT_SHOW = (DATA / "tgt_show.txt").read_text()
"""Two exports, each with one initiator logged in."""
DM_INFO = (DATA / "dm_info.txt").read_text()


def lvm_report(name: str) -> str:
    """Return LVM's report of: linear, joined, moving, syncing, mirrored, lender_dead, missing_dropped, at_lender.

    `binary_values` and `list_separator` say what `at_lender` does, printed as other settings of lvm.conf have it.
    """
    return (DATA / "lvm" / f"{name}.json").read_text()
