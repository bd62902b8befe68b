"""The compiled `thrash` and what it takes to talk to one: the program's file, its argv, and lines in and out."""

import contextlib
import hashlib
import os
import selectors
import subprocess
import time
from pathlib import Path
from typing import Protocol

from ramshare.errors import MissingPartError
from ramshare.linux.run import CommandError, Runner, SystemRunner, require_tools

SOURCE = Path(__file__).with_name("thrash.c")
CFLAGS = ("-O2", "-static", "-pthread")


class LineProcess(Protocol):
    """A process that is talked to in lines: local (`LocalProcess`) or inside a lab machine."""

    def send_line(self, line: str) -> None:
        """Write one line to its standard input."""
        ...

    def read_line(self, timeout_s: float) -> str | None:
        """Return its next line; None, an empty one or `EOFError` mean that it has ended.

        Silence for `timeout_s` is a `TimeoutError` or a `RamshareError`.
        """
        ...

    def close(self) -> None:
        """End it."""
        ...


def cache_dir() -> Path:
    """Return where compiled programs are kept: `$XDG_CACHE_HOME/ramshare`, by default under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ramshare"


def binary(runner: Runner | None = None, cache: Path | None = None) -> Path:
    """Return the compiled thrash, compiling it on first use and after each change of its source.

    Raises `MissingPartError` if there is no C compiler or no static C library.
    """
    source = SOURCE.read_bytes()
    key = hashlib.sha256(source + " ".join(CFLAGS).encode()).hexdigest()[:16]
    path = (cache or cache_dir()) / f"thrash-{key}"
    if path.exists():
        return path
    if runner is None:
        require_tools(["cc"])
        runner = SystemRunner()
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        runner.run(["cc", *CFLAGS, "-o", str(building), str(SOURCE)])
        building.replace(path)
    except CommandError as failed:
        raise MissingPartError(f"cannot compile thrash: {failed.message}", "apt-get install gcc libc6-dev") from failed
    finally:
        building.unlink(missing_ok=True)
    return path


def command(size_bytes: int, program: Path | None = None) -> list[str]:
    """Return the argv of a thrash over an array of `size_bytes`."""
    return [str(program or binary()), "--size", str(size_bytes)]


class LocalProcess:
    """A child process as a `LineProcess`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin and process.stdout
        self._process = process
        self._stdin = process.stdin
        self._fd = process.stdout.fileno()
        self._buffer = b""

    def send_line(self, line: str) -> None:
        """See `LineProcess.send_line`."""
        self._stdin.write(line + "\n")
        self._stdin.flush()

    def read_line(self, timeout_s: float) -> str:
        """See `LineProcess.read_line`."""
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._fd, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                chunk = os.read(self._fd, 65536)
                if not chunk:
                    raise EOFError
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")

    def close(self) -> None:
        """Kill it if it still runs, and collect it."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
