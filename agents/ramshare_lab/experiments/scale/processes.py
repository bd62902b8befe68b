"""The processes of simulated hosts: each makes its part of the cluster, and then does what it is told over a pipe."""

import logging
import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ramshare.errors import RamshareError
from ramshare.settings import BrokerSettings
from ramshare_lab.experiments.scale.carrier import Carrier
from ramshare_lab.experiments.scale.hosts import HEARTBEAT_S, Borrower, Guests, Lender, hear_keys, new_key
from ramshare_lab.experiments.scale.judge import Asked

Target = Callable[["Part", Connection], None]
TURN_S = 0.05
CONNECT_TIMEOUT_S = 300.0


class PartError(RamshareError):
    """A process of simulated hosts ended or did not answer."""


@dataclass(frozen=True)
class Part:
    """What one process simulates, and how it speaks to the broker."""

    broker: dict[str, Any]
    client: str
    hosts: tuple[str, ...]
    guests_a_host: int = 0
    interval_s: float = 5.0
    guests_interval_s: float = 5.0


def guests_of(host: str, count: int) -> list[str]:
    """Return the names of a host's guests."""
    return [f"{host}-{number}" for number in range(count)]


def lenders(part: Part, pipe: Connection) -> None:
    """Be the lenders of these hosts until the pipe ends."""
    carrier = _carrier(part)
    keys: dict[str, str] = {}
    carrier.join("cli.keys", partial(hear_keys, keys), listens=True).watch_state("+", "key")
    found = [Lender(carrier, host, guests_of(host, part.guests_a_host), part.interval_s, keys) for host in part.hosts]
    _every(carrier, HEARTBEAT_S, [one.heartbeat for one in found])
    _every(carrier, part.interval_s, [one.report for one in found])
    _serve(carrier, pipe, {"count": lambda: (carrier.reports, carrier.dropped())})


def borrowers(part: Part, pipe: Connection) -> None:
    """Be the borrowers of these hosts until the pipe ends; `load` has them ask."""
    carrier = _carrier(part)
    key = new_key()
    found = [Borrower(carrier, host, key) for host in part.hosts]
    _every(carrier, HEARTBEAT_S, [one.heartbeat for one in found])
    asked: list[Asked] = []

    def load(rate: float, seconds: float) -> None:
        asked.clear()
        for number in range(round(rate * seconds)):
            one = Asked(time.monotonic() + number / rate)
            asked.append(one)
            carrier.after(number / rate, partial(found[number % len(found)].borrow, one))

    _serve(carrier, pipe, {"load": load, "asked": lambda: asked})


def guests(part: Part, pipe: Connection) -> None:
    """Be the guests of these hosts until the pipe ends."""
    carrier = _carrier(part)
    carrier.join("cli.guests", lambda bus: bus.next(0.0))  # who says and hears nothing is never told that it is there
    names = [guest for host in part.hosts for guest in guests_of(host, part.guests_a_host)]
    told = Guests(carrier, names, part.guests_interval_s)
    _every(carrier, part.guests_interval_s, [partial(told.report, name) for name in names])
    _serve(carrier, pipe, {"count": lambda: (told.sent, 0)})


class Process:
    """One of the above, as its parent sees it."""

    def __init__(self, target: Target, part: Part) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=target, args=(part, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def wait(self, timeout_s: float = CONNECT_TIMEOUT_S) -> Any:
        """Return its next word. Raises `PartError`."""
        try:
            if self._pipe.poll(timeout_s):
                return self._pipe.recv()
        except EOFError:
            raise PartError("a process of simulated hosts ended", "what it printed is above") from None
        raise PartError(f"a process of simulated hosts said nothing for {timeout_s:g} s", "is the machine overloaded?")

    def tell(self, verb: str, *arguments: object) -> Any:
        """Have it do something and return what it says."""
        self._pipe.send((verb, arguments))
        return self.wait()

    def end(self) -> None:
        """End it."""
        self._pipe.close()
        self.process.join(5.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(5.0)


def _carrier(part: Part) -> Carrier:
    logging.basicConfig(level=logging.ERROR)
    return Carrier(BrokerSettings.model_validate(part.broker), part.client)


def _every(carrier: Carrier, interval_s: float, calls: Sequence[Callable[[], object]]) -> None:
    """Have each called once in an interval, evenly spread over it; the first time at once."""

    def again(call: Callable[[], object]) -> None:
        carrier.after(interval_s, partial(again, call))
        call()

    for number, call in enumerate(calls):
        call()
        carrier.after(interval_s * (number + 1) / len(calls), partial(again, call))


def _serve(carrier: Carrier, pipe: Connection, verbs: dict[str, Callable[..., Any]]) -> None:
    carrier.connect(CONNECT_TIMEOUT_S)
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        pipe.send("ready")
        while True:
            carrier.run_for(TURN_S)
            while pipe.poll():
                verb, arguments = pipe.recv()
                pipe.send(verbs[verb](*arguments))
    carrier.close()
