"""What the kernel counts of swap, read on the agent's loop: sysfs and `/proc`, for which no disk is waited for."""

from ramshare.linux.memory import MemoryUnreadableError
from ramshare.linux.sampling import MemorySampler
from ramshare.linux.volume_io import VolumeIo, read_volume_io
from ramshare.messages.state import Memory


class KernelSwapWatch:
    """`api.SwapWatch` on this machine; nothing is read before the first look."""

    def __init__(self) -> None:
        self._sampler: MemorySampler | None = None

    def look(self, volume: str) -> VolumeIo | None:
        """See `api.SwapWatch`."""
        return read_volume_io(volume)

    def memory(self) -> Memory | None:
        """See `api.SwapWatch`."""
        try:
            self._sampler = self._sampler or MemorySampler(1.0)
            return self._sampler.sample()
        except MemoryUnreadableError:
            return None
