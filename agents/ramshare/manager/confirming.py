"""Lenders of which only the broker's memory speaks are asked whether they are there, before a loan counts on them.

Used by the manager's lending. Whoever is asked says all that it has to say again, and then answers.
"""

from collections.abc import Callable
from functools import partial

from ramshare.bus.api import RequestTimeoutError
from ramshare.loop import Loop
from ramshare.manager.cluster import Cluster
from ramshare.messages.replies import Reply
from ramshare.messages.requests import Confirm

CONFIRM_S = 2.0
"""A lender answers from its loop in milliseconds; this is longer than any turn of it."""


class Confirming:
    """Asks each lender once at a time, for all who wait for it."""

    def __init__(self, loop: Loop, cluster: Cluster) -> None:
        self._loop = loop
        self._cluster = cluster
        self._waiting: dict[str, list[Callable[[], None]]] = {}

    def ask(self, lender: str, then: Callable[[], None] = lambda: None) -> None:
        """Run `then` when a lender has answered, or it is clear that it does not: it is believed no more."""
        waiting = self._waiting.setdefault(lender, [])
        waiting.append(then)
        if len(waiting) == 1:
            self._loop.ask(lender, Confirm(), CONFIRM_S, partial(self._answered, lender, self._loop.clock()))

    def _answered(self, lender: str, asked_s: float, outcome: Reply | Exception) -> None:
        if not isinstance(outcome, RequestTimeoutError):
            self._cluster.confirm(lender, self._loop.clock())
        elif not self._cluster.heard_since(lender, asked_s):
            self._cluster.confirm(lender, float("-inf"))
        for then in self._waiting.pop(lender):
            then()
