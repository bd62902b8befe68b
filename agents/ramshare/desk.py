"""The desk at which an agent's requests are answered: each once, refusals included.

`refusal` is the one place that turns an exception into an answer: whatever goes wrong between a request and its reply,
its sender hears of it and can ask again. A handler may answer later, from what it was told by a worker or another agent
(`Loop.work`, `Loop.ask`): such a callback still belongs to the request, and when it raises, the request is refused.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from ramshare.bus.api import RequestArrived
from ramshare.errors import RamshareError
from ramshare.messages.replies import ErrorCode, Reply

log = logging.getLogger(__name__)
T = TypeVar("T")

REMEMBERED_REPLIES = 1000
"""A request repeated after so many others is treated as new; MQTT repeats come within seconds."""

MAX_OPEN = 256
"""Requests of one client that may wait for their answers; what is over is told to come again."""
MAX_COPIES = 64
"""Repetitions of an open request that are answered with it; who repeats more often hears no more than that."""


class RefusedError(RamshareError):
    """A request cannot be granted; becomes an error reply with this code and sentence."""

    def __init__(self, code: ErrorCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


PASSING = frozenset({ErrorCode.NOT_READY, ErrorCode.BUSY, ErrorCode.WAITING})
"""Refusals that say "ask again": the same request asked again is a new try."""

NOT_REMEMBERED = PASSING | {ErrorCode.NOT_ALLOWED}
"""Who may not ask is told so again, and pushes nobody's answer out of what is remembered."""

_Key = tuple[str, str, str]


@dataclass
class _Open:
    """A request that has no answer yet: itself, its duplicates, and what waits for its end."""

    copies: list[RequestArrived]
    then: list[Callable[[Reply], None]] = field(default_factory=list)


class Desk:
    """Answers each request once and repeats that answer for its duplicates, those of an open request included.

    All of it runs on the agent's loop.
    """

    def __init__(self, answer: Callable[[RequestArrived, Reply], None]) -> None:
        """`answer` sends a reply, or raises; see `Bus.answer`."""
        self._answer = answer
        self._open: dict[_Key, _Open] = {}
        self._open_of: Counter[str] = Counter()
        self._done: OrderedDict[_Key, Reply] = OrderedDict()
        self._serving: RequestArrived | None = None

    def admit(self, arrived: RequestArrived) -> bool:
        """Return whether this request is new; a duplicate is answered here, now or with its twin."""
        key = _key(arrived)
        if key in self._done:
            self._answer(arrived, self._done[key])
        elif key in self._open:
            if len(self._open[key].copies) < MAX_COPIES:
                self._open[key].copies.append(arrived)
        elif self._open_of[arrived.client] >= MAX_OPEN:
            busy = RefusedError(ErrorCode.BUSY, f"{MAX_OPEN} requests of {arrived.client} are being served; ask again")
            self._answer(arrived, refusal(arrived.request.request_id, busy))
        else:
            self._open[key] = _Open([arrived])
            self._open_of[arrived.client] += 1
            return True
        return False

    @contextmanager
    def serving(self, arrived: RequestArrived) -> Iterator[None]:
        """Whatever is raised within refuses the request, and goes no further; callbacks begun within belong to it."""
        before, self._serving = self._serving, arrived
        try:
            yield
        except Exception as error:
            self.refuse(arrived, error)
        finally:
            self._serving = before

    def follow_up(self, done: Callable[[T], None]) -> Callable[[T], None]:
        """Return `done` as a part of serving what is being served at this moment, if anything is."""
        arrived = self._serving
        if arrived is None:
            return done

        def guarded(outcome: T) -> None:
            with self.serving(arrived):
                done(outcome)

        return guarded

    def when_answered(self, arrived: RequestArrived, call: Callable[[Reply], None]) -> None:
        """Have `call` run with the answer to an open request, granted or refused: to free what is held for it."""
        self._open[_key(arrived)].then.append(call)

    def settle(self, arrived: RequestArrived, reply: Reply) -> None:
        """Send the answer to a request and to the duplicates that wait for it; one that has its answer keeps that."""
        key = _key(arrived)
        opened = self._open.pop(key, None)
        if opened is None:
            return
        self._closed(arrived.client)
        try:
            reply = self._send(opened.copies, reply)
            self._remember(key, reply)
        finally:
            for call in opened.then:
                call(reply)

    def drop(self, arrived: RequestArrived) -> None:
        """Forget an open request without a word: somebody else answers it, or has."""
        if self._open.pop(_key(arrived), None) is not None:
            self._closed(arrived.client)

    def refuse(self, arrived: RequestArrived, error: Exception) -> None:
        """Answer a request with the reason why it is not granted. What nobody foresaw is logged with its traceback."""
        level = logging.INFO if isinstance(error, RefusedError) else logging.ERROR
        trace = None if isinstance(error, RamshareError) else error
        log.log(level, "refused %s of %s: %s", arrived.verb, arrived.client, error, exc_info=trace)
        self.settle(arrived, refusal(arrived.request.request_id, error))

    def _closed(self, client: str) -> None:
        self._open_of[client] -= 1
        if not self._open_of[client]:
            del self._open_of[client]

    def _send(self, copies: list[RequestArrived], reply: Reply) -> Reply:
        """Send; an answer that cannot be sent (too large) becomes a refusal. Return what was sent."""
        try:
            for waiting in copies:
                self._answer(waiting, reply)
        except Exception as error:
            log.exception("the answer to %s of %s cannot be sent", copies[0].verb, copies[0].client)
            reply = refusal(reply.request_id, error)
            for waiting in copies:
                self._answer(waiting, reply)
        return reply

    def _remember(self, key: _Key, reply: Reply) -> None:
        if reply.error in NOT_REMEMBERED:
            return
        self._done[key] = reply
        while len(self._done) > REMEMBERED_REPLIES:
            self._done.popitem(last=False)


def _key(arrived: RequestArrived) -> _Key:
    return arrived.client, arrived.verb, arrived.request.request_id


def refusal(request_id: str, error: Exception) -> Reply:
    """Return the answer that says why a request was not granted: its code, or `FAILED` for what was not meant."""
    code = error.code if isinstance(error, RefusedError) else ErrorCode.FAILED
    sentence = str(error) if isinstance(error, RamshareError) else repr(error)
    return Reply(request_id=request_id, error=code, sentence=sentence)
