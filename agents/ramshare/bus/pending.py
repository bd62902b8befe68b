"""Requests that wait for their reply: found by correlation, accepted from the server asked only, ended by time."""

import threading
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from uuid import uuid4

from ramshare.bus.api import RequestTimeoutError
from ramshare.messages.replies import Reply


@dataclass(frozen=True)
class Waiting:
    """One open request."""

    server: str
    verb: str
    request_id: str
    timeout_s: float
    deadline: float
    future: "Future[Reply]" = field(default_factory=Future)


class Pending:
    """The open requests of one client; safe from any thread. Times are those of the caller's monotonic clock."""

    def __init__(self) -> None:
        self._open: dict[bytes, Waiting] = {}
        self._changed = threading.Condition()

    def open(self, server: str, verb: str, request_id: str, timeout_s: float, now: float) -> tuple[bytes, Waiting]:
        """Register a request; return the correlation to send with it."""
        waiting = Waiting(server, verb, request_id, timeout_s, now + timeout_s)
        correlation = uuid4().bytes
        with self._changed:
            self._open[correlation] = waiting
            self._changed.notify()
        return correlation, waiting

    def resolve(self, server: str, correlation: bytes | None, reply: Reply) -> bool:
        """Complete the request that this reply of `server` answers; False if there is none.

        A peer that speaks MQTT 3.1.1 cannot send a correlation; then the request's id alone must fit.
        """
        with self._changed:
            for key, waiting in self._open.items():
                if correlation in (None, key) and (waiting.server, waiting.request_id) == (server, reply.request_id):
                    del self._open[key]
                    break
            else:
                return False
        _settle(waiting.future, reply)
        return True

    def fail(self, correlation: bytes | None, error: Exception) -> None:
        """Complete a request with an exception, if it is still open."""
        with self._changed:
            waiting = self._open.pop(correlation, None) if correlation is not None else None
        if waiting is not None:
            _settle(waiting.future, error)

    def expire(self, now: float) -> None:
        """Fail every request whose time is over."""
        with self._changed:
            over = [key for key, waiting in self._open.items() if waiting.deadline <= now]
            ended = [self._open.pop(key) for key in over]
        for waiting in ended:
            _settle(waiting.future, _timed_out(waiting))

    def wait(self, now: float, longest_s: float) -> None:
        """Sleep until the next request is due, one is added, `wake` is called, or `longest_s` have passed."""
        with self._changed:
            due = min((waiting.deadline for waiting in self._open.values()), default=now + longest_s)
            remaining = min(due - now, longest_s)
            if remaining > 0:
                self._changed.wait(remaining)

    def wake(self) -> None:
        """End a `wait`."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Fail everything that is open: the bus ends."""
        self.expire(float("inf"))

    def __len__(self) -> int:
        with self._changed:
            return len(self._open)


def _timed_out(waiting: Waiting) -> RequestTimeoutError:
    return RequestTimeoutError(
        f"{waiting.server} did not answer {waiting.verb} within {waiting.timeout_s:g} s",
        f"see whether {waiting.server} runs: ramshare status",
    )


def _settle(future: "Future[Reply]", outcome: Reply | Exception) -> None:
    try:
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except InvalidStateError:  # the asker cancelled it
        pass
