"""The monitor: inside each guest, samples memory and publishes it. Light, and blind to everything else."""

import logging
from collections.abc import Callable

from ramshare.agent import REAL, Agent, Runtime
from ramshare.bus.api import Bus
from ramshare.linux.footprint import let_go
from ramshare.linux.memory import MemoryUnreadableError
from ramshare.linux.pressure_watch import NoWatch, Watch
from ramshare.linux.sampling import MemorySampler, Sampler
from ramshare.monitor.door import Door, NoDoor
from ramshare.settings import HostSettings

log = logging.getLogger(__name__)

TIDY_AFTER_REPORTS = 2
"""By then everything that a report needs has run once."""
TIDY_EVERY_S = 120.0
"""Then again so often: rare work touches code that is not needed afterwards. It takes some 4 ms."""


class Monitor(Agent):
    """Publishes `state/guest.<name>/memory` every `sample_interval_s`, and at once when memory gets short."""

    def __init__(
        self,
        bus: Bus,
        settings: HostSettings,
        sampler: Sampler | None = None,
        tidy: Callable[[], object] = let_go,
        watch: Watch | None = None,
        door: Door | None = None,
        runtime: Runtime = REAL,
    ) -> None:
        super().__init__(bus, runtime)
        self._interval_s = settings.sample_interval_s
        self._sampler = sampler or MemorySampler(settings.sample_interval_s)
        self._tidy = tidy
        self._watch = watch or NoWatch()
        self._door = door or NoDoor()
        self._reports = 0
        self._next_tidy_s = 0.0
        self._unreadable = False

    def begin(self) -> None:
        """A monitor hears its own kernel, and this guest's administrator, for whom it asks the host."""
        self._watch.start(lambda: self.post(self.soon))
        self._door.open(self.bus.ask)

    def end(self) -> None:
        """Stop hearing both."""
        self._door.close()
        self._watch.stop()

    def tick(self) -> float:
        """Publish one report. What cannot be read is not reported, and nobody counts on this guest's memory then."""
        try:
            memory = self._sampler.sample()
        except MemoryUnreadableError as error:
            if not self._unreadable:
                log.warning("no report: %s", error)
            self._unreadable = True
            return self._interval_s
        self._unreadable = False
        self.bus.set_state("memory", memory)
        self._reports += 1
        if self._reports >= TIDY_AFTER_REPORTS and self.clock() >= self._next_tidy_s:
            self._next_tidy_s = self.clock() + TIDY_EVERY_S
            self._tidy()
        return self._interval_s
