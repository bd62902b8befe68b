"""The desk at which an agent's requests are answered: each once, refusals included.

`refusal` is the one place that turns an exception into an answer: whatever goes wrong between a request and its reply,
its sender hears of it and can ask again.
"""

from collections import OrderedDict
from collections.abc import Callable

from ramshare.bus.api import RequestArrived
from ramshare.errors import RamshareError
from ramshare.messages.replies import ErrorCode, Reply

REMEMBERED_REPLIES = 1000
"""A request repeated after so many others is treated as new; MQTT repeats come within seconds."""


class RefusedError(RamshareError):
    """A request cannot be granted; becomes an error reply with this code and sentence."""

    def __init__(self, code: ErrorCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


PASSING = frozenset({ErrorCode.NOT_READY, ErrorCode.BUSY})
"""Refusals that say "ask again": the same request asked again is a new try."""


class Desk:
    """Answers each request once and repeats that answer for its duplicates, those of an open request included."""

    def __init__(self, answer: Callable[[RequestArrived, Reply], None]) -> None:
        self._answer = answer
        self._open: dict[tuple[str, str, str], list[RequestArrived]] = {}
        self._done: OrderedDict[tuple[str, str, str], Reply] = OrderedDict()

    def admit(self, arrived: RequestArrived) -> bool:
        """Return whether this request is new; a duplicate is answered here, now or with its twin."""
        key = _key(arrived)
        if key in self._done:
            self._answer(arrived, self._done[key])
        elif key in self._open:
            self._open[key].append(arrived)
        else:
            self._open[key] = [arrived]
            return True
        return False

    def settle(self, arrived: RequestArrived, reply: Reply) -> None:
        """Send the answer to a request and to the duplicates that wait for it."""
        key = _key(arrived)
        for waiting in self._open.pop(key, []):
            self._answer(waiting, reply)
        if reply.error in PASSING:
            return
        self._done[key] = reply
        while len(self._done) > REMEMBERED_REPLIES:
            self._done.popitem(last=False)


def _key(arrived: RequestArrived) -> tuple[str, str, str]:
    return arrived.client, arrived.verb, arrived.request.request_id


def refusal(request_id: str, error: Exception) -> Reply:
    """Return the answer that says why a request was not granted: its code, or `FAILED` for what was not meant."""
    code = error.code if isinstance(error, RefusedError) else ErrorCode.FAILED
    sentence = str(error) if isinstance(error, RamshareError) else repr(error)
    return Reply(request_id=request_id, error=code, sentence=sentence[:1000])
