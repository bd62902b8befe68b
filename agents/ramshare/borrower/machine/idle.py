"""Whether anybody swaps to a volume. Runs on the borrower's worker thread."""

from ramshare.linux import swap
from ramshare.linux.dm import Dmsetup, dm_name
from ramshare.linux.lvm import split_volume


def is_idle(volume: str, dm: Dmsetup) -> bool:
    """Whether neither this host nor a guest swaps to the volume: as after a boot that found it without its leases."""
    device, name = f"/dev/{volume}", dm_name(*split_volume(volume))
    if swap.active_swap(device) is not None:
        return False
    opened = next((found.open_count for found in dm.devices() if found.name == name), 0)
    return opened <= (swap.claim_on(device) is not None)
