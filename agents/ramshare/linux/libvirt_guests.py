"""Guests and balloons through libvirt: KVM, QEMU in emulation, Xen, and `test:///default` without any machine.

A connection that broke (libvirtd restarted) is made anew at the next call; balloons stay where they were meanwhile.
Needs the extra `libvirt`, or the Debian package python3-libvirt.
"""

import atexit
import contextlib
import importlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from ramshare.errors import MissingPartError
from ramshare.linux.domain_xml import HUGE_PAGES, disk_sources, why_left_alone
from ramshare.linux.hypervisor import BalloonNote, Guest, HypervisorError

log = logging.getLogger(__name__)

STATS_PERIOD_S = 2
"""How often the balloon driver in the guest tells its figures; without it libvirt's are those of the guest's start."""
KEEPALIVE_S, KEEPALIVE_COUNT = 5, 3
"""A libvirtd that hangs is given up after 15 s."""
_END_S = 2.0
"""How long the end of the process waits for a callback under way."""
_UNLIMITED_KIB = 9007199254740991
"""libvirt's "no limit"."""
LOOK_INTO_S = 30.0
"""How long a guest's definition is believed; devices are plugged in while it runs."""
NOTE_NAME, NOTE_URI = "ramshare", "urn:io.ramshare:balloon:1"
"""Our element in the metadata of a running guest; never in its stored definition."""


@dataclass(frozen=True)
class _LookedInto:
    run: int
    at_s: float
    left_alone: str
    note: BalloonNote | None
    disks: tuple[str, ...] = ()


class LibvirtGuests:
    """Implements `Hypervisor`. One caller at a time, but for `stop`."""

    present = True

    def __init__(self, uri: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._uri = uri
        self._clock = clock
        self._libvirt = _library()
        self._connection: Any = None
        self._on_change: Callable[[], None] = lambda: None
        self._looked_into: dict[str, _LookedInto] = {}
        """By UUID, what does not change from look to look."""

    def start(self, on_change: Callable[[], None]) -> None:
        """See `Hypervisor.start`. Connects at the first call of `guests`."""
        self._on_change = on_change
        _run_events(self._libvirt)

    def stop(self) -> None:
        """See `Hypervisor.stop`."""
        self._on_change = lambda: None
        self._drop_connection()

    def guests(self) -> tuple[Guest, ...]:
        """See `Hypervisor.guests`."""
        found: dict[str, Guest] = {}
        try:
            for domain in self._connected().listAllDomains(self._libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                try:
                    guest = self._read(domain)
                except self._libvirt.libvirtError as error:
                    if error.get_error_code() != self._libvirt.VIR_ERR_NO_DOMAIN:
                        raise  # anything but a guest that ended while it was looked at
                    continue
                if guest is not None:
                    found.setdefault(guest.uuid, guest)
        except self._libvirt.libvirtError as error:
            raise self._failed(error) from error
        self._looked_into = {uuid: known for uuid, known in self._looked_into.items() if uuid in found}
        return tuple(found.values())

    def write_note(self, uuid: str, note: BalloonNote | None) -> None:
        """See `Hypervisor.write_note`. It goes with the running guest, also to another host, and ends with it."""
        text = note and f"<balloon most_bytes='{note.most_bytes}' asked_bytes='{note.asked_bytes}'/>"
        library = self._libvirt
        try:
            domain = self._connected().lookupByUUIDString(uuid)
            if text is not None or self._note_of(domain) is not None:
                kind, live = library.VIR_DOMAIN_METADATA_ELEMENT, library.VIR_DOMAIN_AFFECT_LIVE
                domain.setMetadata(kind, text, NOTE_NAME if text else None, NOTE_URI, live)
        except library.libvirtError as error:
            raise self._failed(error) from error

    def set_balloon(self, uuid: str, target_bytes: int) -> None:
        """See `Hypervisor.set_balloon`."""
        try:
            domain = self._connected().lookupByUUIDString(uuid)
            domain.setMemoryFlags(target_bytes // 1024, self._libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except self._libvirt.libvirtError as error:
            raise self._failed(error) from error

    def _read(self, domain: Any) -> Guest | None:
        state, reason = domain.state()
        if state == self._libvirt.VIR_DOMAIN_PAUSED and reason in (
            self._libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
            self._libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
        ):
            return None  # on its way here or away: the other host has it
        uuid, known = domain.UUIDString(), self._look_into(domain)
        _, max_kib, actual_kib, _, _ = domain.info()
        stats, limits = _or_empty(domain.memoryStats, self._libvirt), _or_empty(domain.memoryParameters, self._libvirt)
        floor_kib = int(limits.get("min_guarantee", 0))
        # Huge pages are not part of what a process is said to hold, and the host counts them as used anyway.
        resident_kib = None if known.left_alone == HUGE_PAGES else stats.get("rss")
        return Guest(
            uuid=uuid,
            name=domain.name(),
            max_bytes=max_kib * 1024,
            actual_bytes=int(stats.get("actual", actual_kib)) * 1024,
            floor_bytes=(0 if floor_kib >= _UNLIMITED_KIB else floor_kib) * 1024,
            resident_bytes=None if resident_kib is None else int(resident_kib) * 1024,
            left_alone=known.left_alone,
            is_host=known.run == 0,
            disks=known.disks,
            run=known.run,
            note=known.note,
        )

    def _look_into(self, domain: Any) -> _LookedInto:
        uuid, run, now_s = domain.UUIDString(), domain.ID(), self._clock()
        before = self._looked_into.get(uuid)
        if before is not None and before.run == run and now_s - before.at_s < LOOK_INTO_S:
            return before
        if run == 0:  # Xen's number for the host itself; guests' begin with 1
            known = _LookedInto(run, now_s, "it is the host itself", None)
        else:
            same = before is not None and before.run == run
            note = before.note if same and before is not None else self._note_of(domain)
            definition = domain.XMLDesc()
            known = _LookedInto(run, now_s, why_left_alone(definition), note, disk_sources(definition))
            if not same and not known.left_alone:
                with contextlib.suppress(self._libvirt.libvirtError):  # not every driver has them
                    domain.setMemoryStatsPeriod(STATS_PERIOD_S, self._libvirt.VIR_DOMAIN_AFFECT_LIVE)
        self._looked_into[uuid] = known
        return known

    def _note_of(self, domain: Any) -> BalloonNote | None:
        library = self._libvirt
        try:
            kind, live = library.VIR_DOMAIN_METADATA_ELEMENT, library.VIR_DOMAIN_AFFECT_LIVE
            return _read_note(domain.metadata(kind, NOTE_URI, live))
        except library.libvirtError as error:
            if error.get_error_code() in (library.VIR_ERR_NO_DOMAIN_METADATA, library.VIR_ERR_NO_SUPPORT):
                return None
            raise

    def _connected(self) -> Any:
        if not self._alive():
            self._drop_connection()
            connection = self._libvirt.open(self._uri)
            with contextlib.suppress(self._libvirt.libvirtError):  # local drivers have none
                connection.setKeepAlive(KEEPALIVE_S, KEEPALIVE_COUNT)
            with contextlib.suppress(self._libvirt.libvirtError):  # without events the regular looks remain
                connection.domainEventRegisterAny(
                    None, self._libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda *_: self._on_change(), None
                )
            self._connection = connection
            self._looked_into.clear()
        return self._connection

    def _drop_connection(self) -> None:
        """Close what is left of a connection that broke."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(self._libvirt.libvirtError):
                connection.close()

    def _alive(self) -> bool:
        try:
            return self._connection is not None and bool(self._connection.isAlive())
        except self._libvirt.libvirtError:
            return False

    def _failed(self, error: Exception) -> HypervisorError:
        if not self._alive():
            self._drop_connection()
        return HypervisorError(
            f"libvirt at {self._uri}: {error}", "is libvirtd running? virsh list shows what it knows"
        )


def _or_empty(read: Callable[[], dict[str, Any]], libvirt: Any) -> dict[str, Any]:
    """Return what a driver has to say, nothing where it does not know the call."""
    try:
        return read()
    except libvirt.libvirtError:
        return {}


def _read_note(text: str) -> BalloonNote | None:
    try:
        said = ElementTree.fromstring(text)
        return BalloonNote(int(said.get("most_bytes", "")), int(said.get("asked_bytes", "")))
    except (ElementTree.ParseError, ValueError):
        return None


def _library() -> Any:
    try:
        libvirt = importlib.import_module("libvirt")
    except ImportError as error:
        raise MissingPartError(
            "libvirt's Python library is missing", "pip install 'ramshare[libvirt]' or apt-get install python3-libvirt"
        ) from error
    libvirt.registerErrorHandler(lambda *_: None, None)  # else every error is printed, too
    return libvirt


_events = threading.Lock()
_events_run = False


def _run_events(libvirt: Any) -> None:
    """Start the one thread that runs libvirt's events; it must be there before the first connection."""
    global _events_run
    with _events:
        if _events_run:
            return
        _events_run = True
        libvirt.virEventRegisterDefaultImpl()
    ending = threading.Event()
    # A timer, so that the loop sees descriptors that were added while it slept.
    timer = libvirt.virEventAddTimeout(1000, lambda *_: None, None)

    def run() -> None:
        while not ending.is_set():
            libvirt.virEventRunDefaultImpl()

    thread = threading.Thread(target=run, name="libvirt-events", daemon=True)

    def end() -> None:
        """An event that came when Python is gone already would end the process with a segmentation fault."""
        ending.set()
        libvirt.virEventUpdateTimeout(timer, 0)
        thread.join(_END_S)

    thread.start()
    atexit.register(end)
