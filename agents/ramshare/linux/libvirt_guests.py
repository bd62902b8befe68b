"""Guests and balloons through libvirt: KVM, QEMU in emulation, Xen, and `test:///default` without any machine.

A connection that broke (libvirtd restarted) is made anew at the next call; balloons stay where they were meanwhile.
Needs the extra `libvirt`, or the Debian package python3-libvirt.
"""

import atexit
import contextlib
import importlib
import logging
import threading
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from ramshare.errors import MissingPartError
from ramshare.linux.hypervisor import Guest, HypervisorError

log = logging.getLogger(__name__)

STATS_PERIOD_S = 2
"""How often the balloon driver in the guest tells its figures; without it libvirt's are those of the guest's start."""
KEEPALIVE_S, KEEPALIVE_COUNT = 5, 3
"""A libvirtd that hangs is given up after 15 s."""
_END_S = 2.0
"""How long the end of the process waits for a callback under way."""
_UNLIMITED_KIB = 9007199254740991
"""libvirt's "no limit"."""


class LibvirtGuests:
    """Implements `Hypervisor`. One caller at a time, but for `stop`."""

    present = True

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._libvirt = _library()
        self._connection: Any = None
        self._on_change: Callable[[], None] = lambda: None
        self._fixed: dict[str, bool] = {}
        """UUID of each guest that was looked into: whether its balloon must be left alone."""

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
        self._fixed = {uuid: fixed for uuid, fixed in self._fixed.items() if uuid in found}
        return tuple(found.values())

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
        uuid = domain.UUIDString()
        if uuid not in self._fixed:
            self._fixed[uuid] = not _has_plain_balloon(domain.XMLDesc())
            with contextlib.suppress(self._libvirt.libvirtError):  # a guest without a balloon has no statistics
                domain.setMemoryStatsPeriod(STATS_PERIOD_S, self._libvirt.VIR_DOMAIN_AFFECT_LIVE)
        _, max_kib, actual_kib, _, _ = domain.info()
        stats, limits = _or_empty(domain.memoryStats, self._libvirt), _or_empty(domain.memoryParameters, self._libvirt)
        floor_kib = int(limits.get("min_guarantee", 0))
        resident_kib = stats.get("rss")
        return Guest(
            uuid=uuid,
            name=domain.name(),
            max_bytes=max_kib * 1024,
            actual_bytes=int(stats.get("actual", actual_kib)) * 1024,
            floor_bytes=(max_kib if self._fixed[uuid] else 0 if floor_kib >= _UNLIMITED_KIB else floor_kib) * 1024,
            resident_bytes=None if resident_kib is None else int(resident_kib) * 1024,
        )

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
            self._fixed.clear()
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


def _has_plain_balloon(xml: str) -> bool:
    """Whether a guest has a balloon that shows in its own memory size.

    With `autodeflate` the guest's kernel counts the balloon as used, so that what it uses itself cannot be told.
    """
    balloon = ElementTree.fromstring(xml).find("devices/memballoon")
    return balloon is not None and balloon.get("model") != "none" and balloon.get("autodeflate") != "on"


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
