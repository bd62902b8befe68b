"""The connection to the broker: one network thread that owns connecting, serving and reconnecting.

It serves one `Session` (a paho client) after another. A paho client that is used again sends what was not acknowledged
*after* its `on_connect`, and an old retained value would overwrite a newer one; so each connection gets a new one, and
what has to survive a reconnect (requests, replies, events that are not acknowledged yet) is kept here, within a bound.
"""

import contextlib
import logging
import random
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError

from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception, stop_when_event_set
from tenacity.nap import sleep_using_event
from tenacity.wait import wait_random_exponential

from ramshare.bus.api import BrokerUnreachableError, NotAuthorisedError
from ramshare.bus.outbox import Outbox, Outgoing
from ramshare.bus.session import Acknowledged, LostError, Session, TakenOverError
from ramshare.bus.tls import SilentRefusalError
from ramshare.bus.wire import LinkUser, Packet
from ramshare.errors import RamshareError
from ramshare.settings import BrokerSettings

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 10.0
FIRST_WAIT_S = 0.25
MAX_WAIT_S = 15.0
"""Bounds of the random exponential back-off; the upper one is how long an agent may miss a broker that is back."""
TAKEN_OVER_WAIT_S = 5.0
"""Two clients with one name push each other out; this keeps the contest slow enough to read about it in the log."""
RETURN_S = 30.0
"""Who is at a later broker of several looks so often whether an earlier one is there again: all are to meet at one."""
LOOK_S = 0.3
"""How long such a look may take: on a network where it takes longer, agents stay where they are."""
STABLE_S = 10.0
"""A session that lasted so long starts the back-off anew."""
FAREWELL_S = 2.0
"""How long an orderly end waits for the broker's acknowledgements."""


class MqttLink:
    """Implements `wire.Link` over paho."""

    def __init__(self, settings: BrokerSettings, client: str, return_s: float = RETURN_S) -> None:
        self._settings = settings
        self._return_s = return_s
        self._client = client
        self._stop = threading.Event()
        self._ending = threading.Event()
        """Set while an orderly end is under way: the connection's end is then no loss."""
        self._thread: threading.Thread | None = None
        self._session: Session | None = None
        self.outbox = Outbox()
        self._first: Future[None] = Future()
        self._last_error: Exception | None = None
        self._was_up = False
        self._open_timeout_s = OPEN_TIMEOUT_S
        self._silent_refusals = 0
        self._short_sessions = 0
        """Sessions in a row that ended soon although the broker is there. Mosquitto 2.0.11 does not tell a client that
        another one with its name has taken over; two such sessions are how it looks."""

    # --- wire.Link

    def start(self, user: LinkUser, timeout_s: float) -> None:
        """See `wire.Link.start`."""
        self._user = user
        self._stop.clear()
        self._ending.clear()
        self._was_up = False
        self._open_timeout_s = min(OPEN_TIMEOUT_S, timeout_s) / len(self._settings.brokers)
        self._first = Future()
        self._start_thread()
        try:
            self._first.result(timeout_s)
        except FutureTimeoutError:
            self._end()
            if isinstance(self._last_error, RamshareError):
                raise self._last_error from None
            raise BrokerUnreachableError(
                f"no broker at {self._settings.broker} within {timeout_s:g} s", "is Mosquitto running?"
            ) from None
        except RamshareError:
            self._end()
            raise

    def stop(self, farewell: Packet | None) -> None:
        """Publish `farewell`, wait until everything is acknowledged, disconnect and end the thread."""
        with self._user.lock:
            session = self._session
            if farewell is not None:
                self.send(farewell)
        if session is not None:
            self.outbox.wait_until_empty(FAREWELL_S)
            self._ending.set()
            session.disconnect()
        self._end()

    def send(self, packet: Packet) -> None:
        """See `wire.Link.send`. The caller holds the user's lock."""
        if self._session is None and packet.retain:
            return
        self._keep(Outgoing.of(packet))
        self._flush()

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe now, if there is a session. The caller holds the user's lock."""
        if self._session is not None:
            mid = self._session.subscribe(topic_filter, qos)
            if mid is not None:
                self.outbox.sent(mid, topic_filter)

    def unsubscribe(self, topic_filter: str) -> None:
        """Undo `subscribe`. The caller holds the user's lock."""
        if self._session is not None:
            self._session.unsubscribe(topic_filter)

    def ensure_alive(self) -> None:
        """Start the network thread again should it ever have ended by itself."""
        thread = self._thread
        if thread is not None and not thread.is_alive() and not self._stop.is_set():
            log.error("%s: the network thread has ended; starting it again", self._client)
            self._start_thread()

    # --- the network thread

    def _run(self) -> None:
        while not self._stop.is_set() and not self._ending.is_set():
            retrying = Retrying(
                wait=_wait,
                sleep=sleep_using_event(self._stop),
                stop=stop_when_event_set(self._stop),
                retry=retry_if_exception(self._worth_retrying),
                before_sleep=self._note,
            )
            try:
                retrying(self._serve)
            except RetryError:
                break  # asked to stop
            except RamshareError as error:
                _complete(self._first, error)
                break
            self._stop.wait(random.uniform(0, FIRST_WAIT_S))

    def _worth_retrying(self, error: BaseException) -> bool:
        """Everything is, except wrong credentials at the very first connection: a person should hear of them.

        A broker that ends at that moment looks like one that refuses without a word: that must happen twice.
        """
        self._silent_refusals = self._silent_refusals + 1 if isinstance(error, SilentRefusalError) else 0
        if self._silent_refusals == 1:
            return True
        return isinstance(error, Exception) and (self._was_up or not isinstance(error, NotAuthorisedError))

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, BrokerUnreachableError):
            self._short_sessions = 0
        self._last_error = error if isinstance(error, Exception) else None
        wait_s = state.next_action.sleep if state.next_action else 0.0
        if isinstance(error, (RamshareError, LostError)):
            level = logging.WARNING if self._was_up else logging.INFO
            log.log(level, "%s: %s; next attempt in %.1f s", self._client, _why(error), wait_s)
        else:
            log.error("%s: the network thread failed; next attempt in %.1f s", self._client, wait_s, exc_info=error)

    def _serve(self) -> None:
        """Serve one session, at the first broker that takes us. Raises if there is none, or the session was short."""
        first_error: RamshareError | None = None
        brokers = self._settings.brokers
        for number, settings in enumerate(brokers):
            session = Session(settings, self._client, self._user.last_will(), clean_start=not self._was_up)
            try:
                session.open(self._open_timeout_s, self._stop.is_set)
            except RamshareError as error:
                session.release()
                first_error = first_error or error
                if number + 1 < len(brokers) and not self._stop.is_set():
                    log.info("%s: %s; trying the next broker", self._client, error)
                continue
            try:
                self._converse(session, brokers[:number])
            finally:
                session.release()
            return
        assert first_error is not None
        raise first_error

    def _converse(self, session: Session, earlier: Sequence[BrokerSettings]) -> None:
        """Serve a session until it ends, or one of the brokers before this one is there again.

        The connection is then cut without a word: whoever stays at this broker for longer sees our last will.
        """
        began = time.monotonic()
        look_at_s = began + self._return_s
        try:
            with self._user.lock:
                self._session = session
                waited = self.outbox.session_begins()
                self._user.on_up()
                for outgoing in waited:
                    self._keep(outgoing)
                self._flush()
            self._was_up = True
            while not self._stop.is_set():
                self._take(session)
                if earlier and time.monotonic() >= look_at_s:
                    look_at_s = time.monotonic() + self._return_s
                    if any(_listens(settings) for settings in earlier):
                        self._user.on_down("an earlier broker of the list is there again")
                        return
        except Exception as error:
            if self._stop.is_set() or self._ending.is_set():
                return
            short = time.monotonic() - began < STABLE_S
            self._short_sessions = self._short_sessions + 1 if short else 0
            if self._short_sessions > 1 and isinstance(error, LostError):
                error = TakenOverError(str(error))
            self._user.on_down(_why(error))
            if short or not isinstance(error, LostError):
                raise error from None
            log.warning("%s: %s", self._client, error)
        finally:
            with self._user.lock:
                self._session = None
                self.outbox.session_ended()

    def _take(self, session: Session) -> None:
        for happening in session.turn():
            if isinstance(happening, Packet):
                self._user.on_packet(happening)
            else:
                self._acknowledge(happening)

    def _acknowledge(self, verdict: Acknowledged) -> None:
        with self._user.lock:
            sent = self.outbox.acknowledged(verdict.mid)
            self._flush()
            if self.outbox.empty:
                _complete(self._first, None)
        if verdict.refusal and isinstance(sent, Outgoing):
            self._user.on_refused(sent.packet, verdict.refusal)
        elif isinstance(sent, str):
            self._user.on_subscribed(sent, verdict.refusal)

    def _keep(self, outgoing: Outgoing) -> None:
        lost = self.outbox.keep(outgoing)
        if lost is not None:
            self._user.on_refused(lost.packet, "too many wait for the broker")

    def _flush(self) -> None:
        """Send what waits, as much as may be under way. It may be a repetition: requests carry ids for that."""
        while self._session is not None and (waited := self.outbox.next()) is not None:
            outgoing = waited.renewed(time.monotonic())
            if outgoing is None:
                self._user.on_refused(waited.packet, "waited too long for the broker")
            else:
                self.outbox.sent(self._session.publish(outgoing.packet), outgoing)

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"bus-{self._client}", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(OPEN_TIMEOUT_S + 1.0)


def _listens(settings: BrokerSettings) -> bool:
    try:
        with socket.create_connection((settings.broker_host, settings.port), timeout=LOOK_S):
            return True
    except OSError:
        return False


def _why(error: Exception) -> str:
    if isinstance(error, TakenOverError):
        return f"another client connected as this one, it seems ({error}); each client needs an account of its own"
    return str(error) or type(error).__name__


def _wait(state: RetryCallState) -> float:
    wait_s = wait_random_exponential(multiplier=FIRST_WAIT_S, max=MAX_WAIT_S)(state)
    taken_over = state.outcome is not None and isinstance(state.outcome.exception(), TakenOverError)
    return max(wait_s, TAKEN_OVER_WAIT_S) if taken_over else wait_s


def _complete(future: "Future[None]", error: Exception | None) -> None:
    with contextlib.suppress(InvalidStateError):
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
