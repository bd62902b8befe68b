"""libvirt's own test driver: the real library and its real calls, without any machine."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ramshare.linux.hypervisor import BalloonNote, HypervisorError

libvirt = pytest.importorskip("libvirt", reason="the extra `libvirt` is not installed")

from ramshare.linux.libvirt_guests import LOOK_INTO_S, NOTE_NAME, NOTE_URI, LibvirtGuests  # noqa: E402

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


def test_a_note_stays_with_the_running_guest_for_another_run_of_ours_to_find(guests: LibvirtGuests) -> None:
    (guest,) = guests.guests()
    assert guest.note is None
    for note in (BalloonNote(2048 * MIB, 1024 * MIB), BalloonNote(2048 * MIB, 1500 * MIB), None, None):
        guests.write_note(guest.uuid, note)
        guests._looked_into.clear()
        assert [found.note for found in guests.guests()] == [note]
    domain = guests._connection.lookupByUUIDString(guest.uuid)
    element, live = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.setMetadata(element, "<balloon most_bytes='much'/>", NOTE_NAME, NOTE_URI, live)
    guests._looked_into.clear()
    assert [found.note for found in guests.guests()] == [None]


def test_a_note_ends_with_the_run_of_the_guest(guests: LibvirtGuests) -> None:
    (guest,) = guests.guests()
    guests.write_note(guest.uuid, BalloonNote(2048 * MIB, 1024 * MIB))
    domain = guests._connection.lookupByUUIDString(guest.uuid)
    domain.destroy()
    domain.create()
    (again,) = guests.guests()
    assert (again.uuid, again.run != guest.run, again.note) == (guest.uuid, True, None)


def test_a_guests_definition_is_looked_into_again_now_and_then() -> None:
    now = [0.0]
    guests = LibvirtGuests(URI, clock=lambda: now[0])
    guests.start(lambda: None)
    (guest,) = guests.guests()
    guests._looked_into[guest.uuid] = replace(guests._looked_into[guest.uuid], left_alone="as it was")
    assert [found.left_alone for found in guests.guests()] == ["as it was"]
    now[0] += LOOK_INTO_S
    assert [found.left_alone for found in guests.guests()] == [""]
    guests.stop()


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


def test_the_disks_of_guests_are_read_from_their_definitions(tmp_path: Path) -> None:
    disk = "<disk type='block' device='disk'><source dev='{}'/><target dev='vd{}'/></disk>"
    domains = "".join(
        f"<domain type='test'><name>{name}</name><memory>131072</memory><vcpu>1</vcpu><os><type>hvm</type></os>"
        f"<devices>{''.join(disk.format(source, 'ab'[i]) for i, source in enumerate(sources))}</devices></domain>"
        for name, sources in {"web1": ("/dev/vg0/web1", "/dev/vg0/swap"), "web2": ()}.items()
    )
    node = tmp_path / "node.xml"
    node.write_text(f"<node>{domains}</node>")
    guests = LibvirtGuests(f"test://{node}")
    guests.start(lambda: None)
    assert {guest.name: guest.disks for guest in guests.guests()} == {
        "web1": ("/dev/vg0/web1", "/dev/vg0/swap"),
        "web2": (),
    }
    guests.stop()
