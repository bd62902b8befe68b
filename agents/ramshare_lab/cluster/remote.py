"""Run commands inside a lab VM: the client of `vmagent.py`.

`RemoteShell.run` has the shape of `Runner.run`, so that what drives a tool on this machine drives it in a VM too;
`RemoteShell.open` controls a long-running program line by line. Closing a `RemoteProcess` kills its command.
"""

import json
import select
import shlex
import signal
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from ramshare.errors import RamshareError
from ramshare.linux.run import DEFAULT_TIMEOUT_S, MASK, CommandError, Completed, shown
from ramshare_lab.cluster.vmagent import PORT

CONNECT_TIMEOUT_S = 10.0


class RemoteError(RamshareError):
    """The VM does not answer, or its command server could not start the command."""


class RemoteTimeoutError(RemoteError):
    """Nothing came from the VM in the time given."""


class RemoteProcess:
    """A command that runs in a VM. Use it as a context manager, or call `close`."""

    def __init__(self, sock: socket.socket, argv: Sequence[str]) -> None:
        self._sock = sock
        self._argv = tuple(argv)
        self._received = b""
        self._partial = ""
        self._lines: deque[str] = deque()
        self._stderr: list[str] = []
        self.pid: int | None = None
        """Process id inside the VM, known after the first message."""
        self.returncode: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def send_line(self, line: str) -> None:
        """Send one line to the command's standard input. Raises `RemoteError` when the VM is gone."""
        self._send({"in": line + "\n"})

    def send_eof(self) -> None:
        """Close the command's standard input."""
        self._send({"eof": True})

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the command and everything it started."""
        self._send({"signal": int(number)})

    def read_line(self, timeout_s: float) -> str | None:
        """Return the next line of standard output without its newline, or None when the command has ended.

        Raises `RemoteTimeoutError` when neither happens within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while not self._lines and self.returncode is None:
            self._pump(deadline)
        if self._lines:
            return self._lines.popleft()
        rest, self._partial = self._partial, ""
        return rest or None

    def wait(self, timeout_s: float) -> Completed:
        """Wait for the end and return the status with the output that was not read yet.

        Raises `RemoteTimeoutError` when the command still runs after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while self.returncode is None:
            self._pump(deadline)
        stdout = "".join(f"{line}\n" for line in self._lines) + self._partial
        self._lines.clear()
        self._partial = ""
        return Completed(self._argv, self.returncode, stdout, self.stderr)

    def poll(self) -> int | None:
        """Take in what has arrived, without waiting, and return the exit status if the command has ended.

        Raises `RemoteError` when the VM is gone.
        """
        while self.returncode is None and (b"\n" in self._received or select.select([self._sock], [], [], 0)[0]):
            self._pump(time.monotonic() + CONNECT_TIMEOUT_S)
        return self.returncode

    @property
    def stderr(self) -> str:
        """What the command has written to standard error so far."""
        return "".join(self._stderr)

    def close(self) -> None:
        """Drop the connection, which kills the command if it still runs."""
        self._sock.close()

    def _pump(self, deadline: float) -> None:
        """Take one message in."""
        while b"\n" not in self._received:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise RemoteTimeoutError(f"nothing came from `{shlex.join(self._argv)}` in the VM in time")
            self._sock.settimeout(left_s)
            try:
                data = self._sock.recv(65536)
            except TimeoutError:
                continue
            except OSError as error:
                raise RemoteError(f"the connection to the VM broke: {error}") from error
            if not data:
                raise RemoteError(f"the VM is gone (it ran `{shlex.join(self._argv)}`)", "look at its console log")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        if "out" in message:
            *lines, self._partial = (self._partial + message["out"]).split("\n")
            self._lines.extend(lines)
        elif "err" in message:
            self._stderr.append(message["err"])
        elif "pid" in message:
            self.pid = message["pid"]
        elif "exit" in message:
            self.returncode = message["exit"]
        elif "error" in message:
            raise RemoteError(f"the VM could not run `{shlex.join(self._argv)}`: {message['error']}")

    def _send(self, message: dict[str, object]) -> None:
        try:
            self._sock.settimeout(CONNECT_TIMEOUT_S)
            self._sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise RemoteError(f"the connection to the VM broke: {error}") from error


class RemoteShell:
    """The way into one VM."""

    def __init__(self, address: str, port: int = PORT, env: Mapping[str, str] | None = None) -> None:
        self.address = address
        self.port = port
        self._env = {"LC_ALL": "C", **(env or {})}

    def open(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bool = True,
        log: str = "",
        oom_score_adj: int = 0,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> RemoteProcess:
        """Start `argv` in the VM. With `log`, a path in the VM, its output is appended there instead of sent here.

        Raises `RemoteError` when the VM does not answer.
        """
        request = {"argv": list(argv), "env": {**self._env, **(env or {})}, "stdin": stdin, "log": log}
        try:
            sock = socket.create_connection((self.address, self.port), timeout=connect_timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(json.dumps({**request, "oom_score_adj": oom_score_adj}).encode() + b"\n")
        except OSError as error:
            raise RemoteError(f"the VM at {self.address} does not answer: {error}") from error
        return RemoteProcess(sock, argv)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        ok: Sequence[int] = (0,),
        stdin: str = "",
        secrets: Sequence[str] = (),
    ) -> Completed:
        """Run to the end, like `Runner.run`. Raises `CommandError` for a status outside `ok` or a time-out."""
        with self.open(argv, stdin=bool(stdin)) as process:
            try:
                if stdin:
                    process.send_line(stdin.removesuffix("\n"))
                    process.send_eof()
                done = process.wait(timeout_s)
            except RemoteTimeoutError as late:
                raise CommandError(
                    Completed(tuple(argv), -1), f"no end in the VM after {timeout_s:g} s", shown(argv, secrets)
                ) from late
        for secret in filter(None, secrets):
            done = Completed(
                done.argv, done.returncode, done.stdout.replace(secret, MASK), done.stderr.replace(secret, MASK)
            )
        if done.returncode not in ok:
            raise CommandError(done, f"exit status {done.returncode} in the VM", shown(argv, secrets))
        return done

    def alive(self, timeout_s: float = 1.0) -> bool:
        """Return whether the VM's command server answers within `timeout_s`."""
        try:
            with self.open(["true"], stdin=False, connect_timeout_s=timeout_s) as process:
                return process.wait(timeout_s).returncode == 0
        except RemoteError:
            return False
