"""libvirt's own test driver: the real library and its real calls, without any machine."""

import subprocess
import sys
import threading
import time

import pytest

from ramshare.linux.hypervisor import HypervisorError

libvirt = pytest.importorskip("libvirt", reason="the extra `libvirt` is not installed")

from ramshare.linux.libvirt_guests import LibvirtGuests, _has_plain_balloon  # noqa: E402

pytestmark = pytest.mark.unit
URI = "test:///default"
MIB = 1 << 20


@pytest.fixture
def guests() -> LibvirtGuests:
    found = LibvirtGuests(URI)
    found.start(lambda: None)
    return found


def test_the_guest_is_seen_and_its_balloon_obeys(guests: LibvirtGuests) -> None:
    (guest,) = guests.guests()
    assert (guest.name, guest.max_bytes, guest.actual_bytes) == ("test", 8192 * MIB, 2048 * MIB)
    guests.set_balloon(guest.uuid, 1024 * MIB)
    (guest,) = guests.guests()
    assert (guest.actual_bytes, guest.untouched_bytes) == (
        1024 * MIB,
        512 * MIB,
    )  # the test driver's `rss` is half of it
    guests.stop()
    guests.stop()


def test_more_than_there_is_and_unknown_guests_are_refused(guests: LibvirtGuests) -> None:
    (guest,) = guests.guests()
    for uuid, size_bytes in ((guest.uuid, guest.max_bytes * 2), ("0" * 32, MIB)):
        with pytest.raises(HypervisorError, match="test:///default"):
            guests.set_balloon(uuid, size_bytes)


def test_start_and_stop_are_told_and_followed() -> None:
    told, guests = threading.Event(), LibvirtGuests(URI)
    guests.start(told.set)
    (guest,) = guests.guests()
    domain = guests._connection.lookupByUUIDString(guest.uuid)
    domain.destroy()
    assert told.wait(10.0)
    assert guests.guests() == ()
    told.clear()
    domain.create()
    assert told.wait(10.0)
    assert [found.name for found in guests.guests()] == ["test"]
    domain.suspend()
    assert len(guests.guests()) == 1  # paused by a person: still here
    guests.stop()


def test_a_connection_that_broke_is_made_anew(guests: LibvirtGuests) -> None:
    assert guests.guests()
    guests._connection.close()
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        try:
            assert guests.guests()
            return
        except HypervisorError:
            continue
    pytest.fail("it was not made anew")


def test_a_hypervisor_that_is_not_there_is_a_clear_error() -> None:
    guests = LibvirtGuests("test:///absent/file.xml")
    guests.start(lambda: None)
    with pytest.raises(HypervisorError, match="absent"):
        guests.guests()


@pytest.mark.parametrize(
    ("balloon", "plain"),
    [
        ("<memballoon model='virtio'/>", True),
        ("<memballoon model='xen'/>", True),
        ("<memballoon model='none'/>", False),
        ("<memballoon model='virtio' autodeflate='on'/>", False),
        ("", False),
    ],
)
def test_only_a_balloon_that_shows_in_the_guests_size_is_used(balloon: str, plain: bool) -> None:
    assert _has_plain_balloon(f"<domain><devices>{balloon}</devices></domain>") is plain


def test_no_event_can_come_after_python_has_ended() -> None:
    program = f"""
import atexit, threading
atexit.register(lambda: print([thread.name for thread in threading.enumerate()]))  # the last to run
from ramshare.linux.libvirt_guests import LibvirtGuests
guests = LibvirtGuests({URI!r})
guests.start(lambda: None)
print(len(guests.guests()))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (0, "1\n['MainThread']\n"), ended.stderr
