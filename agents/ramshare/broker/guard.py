"""Watches over what accounts store at the hosts' broker, and revokes one that stores more than any needs.

Without it one host's key in wrong hands is enough to fill the broker up to its memory limit within two seconds, and a
full broker serves nobody (measured).
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from ramshare.broker import keeper
from ramshare.broker.files import HOSTS
from ramshare.broker.rules import GUARD
from ramshare.broker.store import Store
from ramshare.broker.stored import Stored
from ramshare.broker.telling import Brokers, account
from ramshare.errors import RamshareError
from ramshare.settings import BrokerSettings

RETRY_S = 2.0


class Watched(Brokers, Protocol):
    """The brokers, and what is stored at them."""

    def until_stored(self, settings: BrokerSettings, note: Callable[[str, int], str]) -> str:
        """Tell `note` of every stored topic (name, bytes) and every change; return its first answer."""
        ...


def watch(
    store: Store,
    brokers: Watched,
    now: Callable[[], datetime],
    say: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Watch until somebody had to be revoked. Raises `StoreError` without a set; what else fails is tried again."""
    told = ""
    while True:
        cluster, files = store.load()
        try:
            with account(cluster, files, HOSTS, now(), GUARD) as settings:
                culprit = brokers.until_stored(settings, Stored(cluster.root).note)
            say(f"{culprit} stores more than any account needs: it is revoked")
            done = keeper.revoke(store, culprit, now(), brokers)
        except RamshareError as error:
            if str(error) != told:
                say(told := str(error))
            wait(RETRY_S)
            continue
        for sentence in (done.sentences[0], f"{len(done.sentences) - 1} topics cleared", *done.problems):
            say(sentence)
        return
