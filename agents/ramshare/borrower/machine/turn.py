"""One volume's turn: look, plan one step, apply it. Runs on the borrower's worker thread."""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from ramshare.borrower.machine.api import Looked
from ramshare.borrower.machine.disk_queue import DiskQueues
from ramshare.borrower.machine.executor import Executor
from ramshare.borrower.machine.idle import is_idle
from ramshare.borrower.machine.look import Look
from ramshare.borrower.machine.lvm_cache import KernelWords, LvmCache
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.view import Heard, VolumeView
from ramshare.borrower.plan.write_backlog import WriteBacklog, Writes
from ramshare.errors import RamshareError
from ramshare.linux.ballast import Ballast
from ramshare.linux.dm import Dmsetup, dm_name, writes
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm import split_volume

log = logging.getLogger(__name__)


class Turns:
    """Plans from what LVM says, or from what it last said while the kernel agrees with that."""

    def __init__(
        self,
        look: Look,
        cache: LvmCache,
        dm: Dmsetup,
        executor: Executor,
        ballast: Ballast,
        clock: Callable[[], float] = time.monotonic,
        idle: Callable[[str, Dmsetup], bool] = is_idle,
        queues: DiskQueues | None = None,
    ) -> None:
        self._look = look
        self._cache = cache
        self._dm = dm
        self._executor = executor
        self._ballast = ballast
        self._clock = clock
        self._idle = idle
        self._queues = queues or DiskQueues()
        self._write_backlog = WriteBacklog()

    def turn(self, volume: str, heard: Heard) -> Looked:
        """Take one turn; a step that would suspend the volume for too long now is put off."""
        # A lender waits for memory: the tools must not wait for theirs behind all that swaps.
        with self._ballast.dropped() if heard.vacate else contextlib.nullcontext():
            view, step = self._known(volume, heard) or self._plan(volume, heard)
            try:
                self._apply(view, step)
                self._queues.fit({*view.local_devices, *view.way_home}, moving=_copies(view, step))
                if isinstance(step, s.Done):
                    view = replace(view, idle=self._idle(volume, self._dm))
            except (RamshareError, OSError) as error:
                return Looked(view, step, str(error))
            except Exception as error:
                log.exception("%s: %s", volume, step)
                return Looked(view, step, repr(error))
        return Looked(view, step)

    def _known(self, volume: str, heard: Heard) -> tuple[VolumeView, s.Step] | None:
        return self._cache.plan(volume, heard, lambda: self._words(volume, self._look.sessions()), self._clock())

    def _plan(self, volume: str, heard: Heard) -> tuple[VolumeView, s.Step]:
        """Ask LVM and plan from what it says."""
        view = self._look.look(volume, heard)
        now_s = self._clock()
        counted = Writes(now_s, *writes(dm_name(*split_volume(volume))))
        step = self._write_backlog.instead_of(next_step(view), volume, counted)
        self._cache.note(view, step, lambda: self._words(volume, self._look.seen), now_s)
        return view, step

    def _apply(self, view: VolumeView, step: s.Step) -> None:
        if isinstance(step, s.MachineStep):
            self._executor.apply(view, self._look.state, step)
        elif not isinstance(step, s.BusStep | s.NoStep):
            assert_never(step)

    def _words(self, volume: str, seen: Sequence[Session]) -> KernelWords:
        name = dm_name(*split_volume(volume))
        return KernelWords(seen, self._dm.table(name), self._dm.status(name))


def _copies(view: VolumeView, step: s.Step) -> bool:
    """Whether pages are being moved, or copied to a leg at home, after the step."""
    if isinstance(step, s.Wait):
        return view.move is not None or any(leg.is_local and not leg.in_sync for leg in view.legs)
    return isinstance(step, s.StartMove) or (
        isinstance(step, s.StartMirror) and not {*view.way_home}.isdisjoint(step.devices)
    )
