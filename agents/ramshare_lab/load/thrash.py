"""Drives `thrash`, the microbenchmark in `thrash.c`.

`Thrash` talks to any line-based process, so the demo drives one inside a virtual machine and the tests one on this
machine with the same code. The lab and the `bench` commands call this; what the lines mean is in `thrash_lines.py`,
how the program is compiled and started in `thrash_program.py`.
"""

import contextlib
import logging
from collections.abc import Callable

from ramshare.errors import RamshareError
from ramshare.linux.run import Runner, SystemRunner
from ramshare_lab.load.thrash_lines import Corrupted, Event, Pattern, Progress, Ready, Result, ThrashError, parse_line
from ramshare_lab.load.thrash_program import LineProcess, LocalProcess, binary, command

__all__ = ["LineProcess", "LocalProcess", "Pattern", "Progress", "Result", "Thrash", "ThrashError", "binary", "command"]

log = logging.getLogger(__name__)

SILENCE_S = 60.0
"""No line for this long means the machine is gone: progress comes every 0.5 s even while swap stalls."""

OnProgress = Callable[[Progress], None]


class Thrash:
    """One running thrash: an array, and the commands on it. A context manager that ends the process.

    Every method raises `ThrashError` when thrash refuses, has died, or said nothing for `silence_s` seconds.
    """

    def __init__(self, process: LineProcess, silence_s: float = SILENCE_S) -> None:
        self._process = process
        self._silence_s = silence_s
        self._noise = ""
        self._storming = False
        first = self._next()
        if not isinstance(first, Ready):
            raise ThrashError(f"thrash began with {first!r}")
        self.size_bytes = first.size_bytes
        self.locked = first.locked
        if not first.locked:
            log.warning("thrash could not lock its own memory: its program may be swapped too (is it run as root?)")

    @classmethod
    def local(cls, size_bytes: int, runner: Runner | None = None) -> "Thrash":
        """Start one on this machine."""
        spawn = (runner or SystemRunner()).spawn
        return cls(LocalProcess(spawn(command(size_bytes), pipes=True, die_with_parent=True)))

    def init(self, on_progress: OnProgress | None = None) -> Result:
        """Write every page once; nothing else works before. A second `init` forgets all bad pages."""
        return self._finish("init", on_progress)

    def run(
        self,
        pattern: Pattern,
        *,
        block_bytes: int,
        seconds: float = 0.0,
        limit_bytes: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Result:
        """Access the array until `seconds` or `limit_bytes` are used up, whichever comes first (0: no limit).

        Sequential runs go on where the last one stopped, so that they do not begin in pages that are still in RAM.
        """
        return self._finish(f"run {pattern} {seconds:g} {block_bytes} {limit_bytes}", on_progress)

    def check(self, on_progress: OnProgress | None = None) -> Result:
        """Read and verify every page."""
        return self._finish("check", on_progress)

    def page_out(self, on_progress: OnProgress | None = None) -> Result:
        """Have the kernel write every page to swap that is only in memory, as pressure would; needs Linux 5.4."""
        return self._finish("page_out", on_progress)

    def start_storm(self, write_percent: int = 50) -> None:
        """Begin random whole-page reads and writes, all verified, that go on until `stop_storm`."""
        self._send(f"storm {write_percent}")
        self._storming = True

    def storm_progress(self, timeout_s: float | None = None) -> Progress:
        """Return the storm's next progress line (one every 0.5 s; read them, they are not dropped)."""
        event = self._next(timeout_s)
        if not isinstance(event, Progress):
            raise ThrashError(f"thrash answered {event!r} in a storm")
        return event

    def stop_storm(self) -> Result:
        """End the storm; its result says how many pages were bad and the longest stall."""
        self._storming = False
        return self._finish("stop", None)

    def corrupt(self, page: int, kind: str = "flip") -> None:
        """Damage a page on purpose: `flip`, `lost`, `stale`, `mixed` or `sigbus`. For tests of the counting itself."""
        self._send(f"corrupt {page} {kind}")
        event = self._next()
        if not isinstance(event, Corrupted):
            raise ThrashError(f"thrash answered {event!r} to corrupt")

    def close(self) -> None:
        """End the process; never raises for one that is gone already."""
        with contextlib.suppress(ThrashError, OSError):
            self._send("quit")
        self._process.close()

    def __enter__(self) -> "Thrash":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finish(self, line: str, on_progress: OnProgress | None) -> Result:
        if self._storming:
            raise ThrashError("a storm is running", "stop_storm() first")
        self._send(line)
        while True:
            event = self._next()
            if isinstance(event, Result):
                return event
            if isinstance(event, Progress) and on_progress is not None:
                on_progress(event)

    def _send(self, line: str) -> None:
        try:
            self._process.send_line(line)
        except (OSError, ValueError, EOFError) as gone:
            raise self._ended() from gone
        except RamshareError as lost:
            raise ThrashError(f"lost touch with thrash: {lost.message}", lost.hint) from lost

    def _next(self, timeout_s: float | None = None) -> Event:
        """Return the next event; lines that are not JSON (a console's messages) are kept for the error message only."""
        wait_s = self._silence_s if timeout_s is None else timeout_s
        while True:
            try:
                line = self._process.read_line(wait_s)
            except TimeoutError as silent:
                raise ThrashError(f"thrash said nothing for {wait_s:g} s", "its machine may be hanging") from silent
            except EOFError as ended:
                raise self._ended() from ended
            except RamshareError as lost:
                raise ThrashError(f"lost touch with thrash: {lost.message}", lost.hint) from lost
            if not line:
                raise self._ended()
            if line.lstrip().startswith("{"):
                return parse_line(line)
            self._noise = line.strip()
            log.debug("thrash's channel: %s", self._noise)

    def _ended(self) -> ThrashError:
        return ThrashError(
            f"thrash has ended{': ' + self._noise if self._noise else ''}", "killed for memory? see dmesg"
        )
