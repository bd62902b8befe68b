"""Where a guest's administrator asks: a socket of the monitor, which holds the guest's one account and its connection.

One line of JSON in, a request to the guest's own host, one line of JSON out, its reply. Only root and the monitor's own
user are heard. Each question waits on a thread of its own, so the monitor's loop and reports never wait for one.
"""

import contextlib
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from ramshare.bus.api import NotAuthorisedError, RequestTimeoutError
from ramshare.errors import RamshareError
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import BorrowOwnSwap, Request, ReturnOwnSwap
from ramshare.topics import OWN_HOST

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 4096
ANSWER_S = 60.0
"""A borrower looks at its volumes, then asks the manager, who asks lenders (15 s)."""
MOST_UNREAD = 64
"""Parts of what somebody says too much."""
READ_S = 5.0
MOST_AT_ONCE = 4
NO_HOST = (
    "no host answers for this guest: its host's owner has not allowed it (RAMSHARE_BORROWER_GUESTS there), its swap is "
    "no volume of the host, or the host's borrower is away"
)
OLD_BROKER = "the guests' broker lets no guest ask; its keeper brings it up to date with ramshare broker renew"

Ask = Callable[[str, Request, float], "Future[Reply]"]


class Door(Protocol):
    """What the monitor opens at its start and closes at its end."""

    def open(self, ask: Ask) -> None:
        """Begin to listen; `ask` is the bus's."""
        ...

    def close(self) -> None:
        """End. Idempotent."""
        ...


class NoDoor:
    """Nobody asks here."""

    def open(self, ask: Ask) -> None:
        """See `Door`."""

    def close(self) -> None:
        """See `Door`."""


class SocketDoor:
    """A Unix socket at `path`, whose directory is the service's; without that directory there is none."""

    def __init__(self, path: Path, uids: frozenset[int] = frozenset({0})) -> None:
        """`uids` are heard, and our own."""
        self._path = path
        self._uids = uids | {os.geteuid()}
        self._listener: socket.socket | None = None
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)

    def open(self, ask: Ask) -> None:
        """See `Door`."""
        listener = socket.socket(socket.AF_UNIX)
        try:
            self._path.unlink(missing_ok=True)
            listener.bind(str(self._path))
            self._path.chmod(0o600)
            listener.listen(MOST_AT_ONCE)
        except OSError as error:
            log.info("nobody can ask by way of this monitor: %s: %s", self._path, error.strerror or error)
            listener.close()
            return
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener, ask), name="door", daemon=True).start()

    def close(self) -> None:
        """See `Door`."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket, ask: Ask) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, ask), name="asking", daemon=True).start()

    def _serve(self, connection: socket.socket, ask: Ask) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(READ_S)
            if _uid(connection) not in self._uids:
                reply = _no(ErrorCode.NOT_ALLOWED, "only root may ask for this guest")
            elif not self._places.acquire(blocking=False):
                reply = _no(ErrorCode.BUSY, f"{MOST_AT_ONCE} questions are open already; ask again")
            else:
                try:
                    reply = answer(_line(connection), ask)
                finally:
                    self._places.release()
            connection.sendall(reply.to_json() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            for _ in range(MOST_UNREAD):  # what is left unread at the close would take the answer with it
                if not connection.recv(MAX_LINE_BYTES):
                    break


def answer(line: bytes, ask: Ask) -> Reply:
    """Return what comes of one line: the host's reply, or why there is none. Never raises."""
    for kind in (BorrowOwnSwap, ReturnOwnSwap):
        if f'"{kind.KIND}"'.encode() in line:
            break
    else:
        return _no(ErrorCode.BAD_REQUEST, "this is no request of a guest to its host")
    try:
        request = kind.model_validate_json(line)
    except (ValueError, RecursionError):
        return _no(ErrorCode.BAD_REQUEST, f"this is no {kind.KIND}")
    try:
        return ask(OWN_HOST, request, ANSWER_S).result(ANSWER_S + 5.0)
    except (RequestTimeoutError, TimeoutError):
        return _no(ErrorCode.NOT_READY, NO_HOST, request.request_id)
    except NotAuthorisedError:
        return _no(ErrorCode.NOT_ALLOWED, OLD_BROKER, request.request_id)
    except RamshareError as error:
        return _no(ErrorCode.FAILED, str(error), request.request_id)


def _no(code: ErrorCode, sentence: str, request_id: str = "") -> Reply:
    return Reply(request_id=request_id, error=code, sentence=sentence)


def _line(connection: socket.socket) -> bytes:
    found = b""
    while b"\n" not in found and len(found) < MAX_LINE_BYTES:
        part = connection.recv(MAX_LINE_BYTES)
        if not part:
            break
        found += part
    return found[:MAX_LINE_BYTES].partition(b"\n")[0]


def _uid(connection: socket.socket) -> int:
    """Return who is at the other end, as the kernel knows it."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", found)[1]
    return uid
