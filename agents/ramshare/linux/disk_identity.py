"""Who a leased disk says it is: the same lease is always the same disk, two leases are never paths to one disk.

tgtd would name every lender's first disk alike (`IET     00010001`), and multipath takes disks of one name for one disk
with several ways to it. Of the identification page (SPC, page 0x83) tgtd makes three designators: the text of
`scsi_id`; a locally assigned NAA of target number and unit, which nothing else changes; and a registered extended NAA,
its first digit replaced by 6, of those characters of `scsi_id` that are hexadecimal digits (tgt 1.0.85, `spc.c`, seen
with real units). The last one is what udev, multipath, LVM and the kernel's `wwid` prefer, hence an id of 32 digits.

Used by the target (`tgt.py`), by LVM's devices file (`lvm.py`) and by the checks of a host.
"""

import hashlib

VENDOR, PRODUCT = "RAMSHARE", "LEASE"
"""What INQUIRY says of a leased disk, so that rules of other programs can name it."""

NAA_PREFIX = "672616d"
"""NAA type 6 and, in place of a company's number, `ram` (72:61:6d, of the locally administered ones)."""
SERIAL_CHARACTERS = 36
"""tgtd cuts the rest off."""
_TARGET_NUMBERS = (1 << 28) - (1 << 16)
"""tgtd puts the NAA type over the highest four bits of the target number; above there is room to try the next ones."""


def disk_id(iqn: str) -> str:
    """Return the 32 hexadecimal digits that are the SCSI id and the NAA of the disk which the target `iqn` exports."""
    return NAA_PREFIX + hashlib.sha256(iqn.encode()).hexdigest()[: 32 - len(NAA_PREFIX)]


def wwid(iqn: str) -> str:
    """Return that id as the kernel's `wwid` and LVM's devices file write it."""
    return f"naa.{disk_id(iqn)}"


def serial_number(name: str, iqn: str) -> str:
    """Return `name` if it fits into a serial number, else the disk's id."""
    return name if len(name) <= SERIAL_CHARACTERS else disk_id(iqn)


def target_number(iqn: str) -> int:
    """Return the target number to try first, so that the locally assigned NAA tells lenders apart, too."""
    return int(hashlib.sha256(iqn.encode()).hexdigest()[-7:], 16) % _TARGET_NUMBERS + 1
