"""The monitor: inside each guest, samples memory and publishes it. Light, and blind to everything else."""

from ramshare.bus.api import Bus
from ramshare.daemon import Agent
from ramshare.linux.sampling import MemorySampler
from ramshare.settings import HostSettings


class Monitor(Agent):
    """Publishes `state/guest.<name>/memory` every `sample_interval_s`."""

    def __init__(self, bus: Bus, settings: HostSettings, sampler: MemorySampler | None = None) -> None:
        super().__init__(bus)
        self._interval_s = settings.sample_interval_s
        self._sampler = sampler or MemorySampler(settings.sample_interval_s)

    def begin(self) -> None:
        """Nothing to prepare: a monitor hears nobody."""

    def tick(self) -> float:
        """Publish one report."""
        self.bus.set_state("memory", self._sampler.sample())
        return self._interval_s
