"""What the parts of an agent may ask of it: to run things on its one loop, on its worker thread, and on the bus.

A part is given a `Loop` and the bus, not the agent: what it can do is what it was given.
"""

import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

from ramshare.bus.api import Bus
from ramshare.messages.events import Event, EventKind
from ramshare.messages.replies import Reply
from ramshare.messages.requests import Request

log = logging.getLogger(__name__)
T = TypeVar("T")


class Loop(Protocol):
    """The agent's loop; `Agent` is one. Callbacks run on it, one after the other."""

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds that never go back, as `time.monotonic`."""
        ...

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` run on the loop; safe from any thread."""
        ...

    def work(self, job: Callable[[], T], done: Callable[[T | Exception], None], *, first: bool = False) -> None:
        """Run `job` on the worker thread, then `done` with its result or exception on the loop.

        One that is to be `first` goes before all that wait without being so. While a request is served, `done` belongs
        to it: if `done` raises, the request is refused.
        """
        ...

    def ask(self, server: str, request: Request, timeout_s: float, done: Callable[[Reply | Exception], None]) -> None:
        """Send a request and run `done` with the reply, or the exception, on the loop; see `work`."""
        ...

    def soon(self) -> None:
        """Have the agent's `tick` called at the next turn of the loop."""
        ...


def say(bus: Bus, kind: EventKind, sentence: str, **about: object) -> None:
    """Log a sentence and publish it as an event."""
    log.info("%s: %s", kind, sentence)
    bus.event(kind, Event.model_validate({"kind": kind, "sentence": sentence, **about}))
