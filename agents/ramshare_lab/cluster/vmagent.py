"""The command server inside a lab VM: standard library only, small, locked in memory, safe from the OOM killer.

It is how the lab runs anything in a VM, also while that VM thrashes, so it must never wait for swapped-out pages of
its own. One TCP connection is one command: the client sends a JSON line with argv, then lines of input; output comes
back as JSON lines and at last the exit status. A connection that goes away kills its command with all it started.
Started by `vm_init.sh` as a plain script; `remote.py` is the client.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

PORT = 7777
CHUNK_BYTES = 65536
STACK_BYTES = 256 * 1024
"""Per connection; it is locked memory, so the default of 8 MiB would be a waste."""

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
OOM_NEVER = -1000


def protect() -> None:
    """Lock what is mapped now and what gets touched later, and leave the OOM killer's list."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT) or libc.mlockall(MCL_FUTURE | MCL_ONFAULT):
        sys.stderr.write(f"vmagent: memory is not locked: {os.strerror(ctypes.get_errno())}\n")
    set_oom_score(os.getpid(), OOM_NEVER)


def set_oom_score(pid: int, score: int) -> None:
    """Set how readily the OOM killer takes `pid` (-1000 never, 0 as usual, 1000 first)."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w") as out:  # noqa: PTH123
        out.write(str(score))


class Connection:
    """One client and its one command."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = b""
        self._process: subprocess.Popen[bytes] | None = None

    def serve(self) -> None:
        """Run the command that the client asks for; never raises."""
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = self._first_line()
            if request is not None:
                self._run(request)
        except (OSError, ValueError, KeyError, TypeError) as error:
            with contextlib.suppress(OSError):
                self._send(error=f"{type(error).__name__}: {error}")
        finally:
            self._end()
            self._sock.close()

    def _run(self, request: dict[str, Any]) -> None:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if request.get("log") else None
        try:
            self._process = process = subprocess.Popen(
                request["argv"],
                stdin=subprocess.PIPE if request.get("stdin") else subprocess.DEVNULL,
                stdout=subprocess.PIPE if log is None else log,
                stderr=subprocess.PIPE if log is None else log,
                env={**os.environ, **request.get("env", {})},
                cwd=request.get("cwd"),
                start_new_session=True,
                bufsize=0,
            )
        finally:
            if log is not None:
                os.close(log)
        set_oom_score(process.pid, int(request.get("oom_score_adj", 0)))
        self._send(pid=process.pid)
        self._relay(process)

    def _relay(self, process: "subprocess.Popen[bytes]") -> None:
        ended = os.pidfd_open(process.pid)
        try:
            with selectors.DefaultSelector() as ready:
                ready.register(self._sock, selectors.EVENT_READ, "client")
                ready.register(ended, selectors.EVENT_READ, "ended")
                for name, stream in (("out", process.stdout), ("err", process.stderr)):
                    if stream is not None:
                        os.set_blocking(stream.fileno(), False)
                        ready.register(stream, selectors.EVENT_READ, name)
                self._input(b"")
                while self._step(ready, process):
                    pass
        finally:
            os.close(ended)

    def _step(self, ready: selectors.BaseSelector, process: "subprocess.Popen[bytes]") -> bool:
        """Handle what is ready; False when the command or the client is gone."""
        names = {key.data: key for key, _ in ready.select()}
        for name in ("out", "err"):
            if name in names:
                data = os.read(names[name].fd, CHUNK_BYTES)
                if data:
                    self._send(**{name: data.decode(errors="surrogateescape")})
                else:
                    ready.unregister(names[name].fileobj)
        if "client" in names:
            data = self._sock.recv(CHUNK_BYTES)
            if not data:
                return False
            self._input(data)
        if "ended" in names and not {"out", "err"} & names.keys():
            self._send(exit=process.wait())
            return False
        return True

    def _input(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        process = self._process
        if process is None:
            return
        for line in lines:
            message = json.loads(line)
            if "signal" in message:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, message["signal"])
            if process.stdin is not None and not process.stdin.closed:
                with contextlib.suppress(BrokenPipeError):
                    if "in" in message:
                        process.stdin.write(message["in"].encode(errors="surrogateescape"))
                    if message.get("eof"):
                        process.stdin.close()

    def _first_line(self) -> dict[str, Any] | None:
        while b"\n" not in self._received:
            data = self._sock.recv(CHUNK_BYTES)
            if not data:
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("a request is a JSON object")
        return request

    def _send(self, **message: object) -> None:
        self._sock.sendall(json.dumps(message).encode() + b"\n")

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def main() -> None:
    """Serve until the VM ends."""
    threading.stack_size(STACK_BYTES)
    with socket.create_server(("", int(sys.argv[1]) if len(sys.argv) > 1 else PORT), backlog=64) as server:
        protect()
        while True:
            sock, _ = server.accept()
            threading.Thread(target=Connection(sock).serve, daemon=True).start()


if __name__ == "__main__":
    main()
