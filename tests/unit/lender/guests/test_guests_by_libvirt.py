"""The lender and libvirt together, without machines: whose memory it uses of a host's guests as people define them."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ramshare.lender.guests.host_guests import HostGuests
from ramshare.lender.offer_plan import Limits, plan_offer
from ramshare.policy.model import GuestSample

pytest.importorskip("libvirt", reason="the extra `libvirt` is not installed")

from ramshare.linux.libvirt_guests import LibvirtGuests

pytestmark = pytest.mark.unit
MIB = 1 << 20
KEPT_MIB, MOST_MIB = 4096, 16_384


def domain(name: str, backing: str = "", devices: str = "", security: str = "") -> str:
    return f"""
      <domain type='test'>
        <name>{name}</name>
        <memory unit='MiB'>{MOST_MIB}</memory><currentMemory unit='MiB'>{KEPT_MIB}</currentMemory>{backing}
        <vcpu>2</vcpu><os><type arch='x86_64'>hvm</type></os>{security}
        <devices>{devices}<memballoon model='virtio'/></devices>
      </domain>"""


PLAIN = [domain(f"web{number}") for number in range(1, 5)]
DEVICE = (
    "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='1' slot='0' function='0'/>"
    "</source></hostdev>"
)
SPECIAL = [
    domain("huge", "<memoryBacking><hugepages/></memoryBacking>"),
    domain("locked", "<memoryBacking><locked/></memoryBacking>"),
    domain("gpu", devices=DEVICE),
    domain("secret", security="<launchSecurity type='s390-pv'/>"),
]


class LibvirtHost:
    """A host with these guests, looked at as the lender's loop does."""

    def __init__(self, directory: Path, domains: list[str]) -> None:
        place = directory / "node.xml"
        place.write_text(f"<node>{''.join(domains)}</node>")
        self.libvirt = LibvirtGuests(f"test://{place}")
        self.posted: deque[Callable[[], None]] = deque()
        self.arrived = threading.Event()
        self.now_s = 1000.0
        self.held = HostGuests(self.libvirt, self._post, lambda: self.now_s, ThreadPoolExecutor(max_workers=1))
        self.held.start(lambda: None)

    def _post(self, call: Callable[[], None]) -> None:
        self.posted.append(call)
        self.arrived.set()

    def round(self, used_mib: int, wanted_mib: int) -> None:
        self.now_s += 30.0
        self.look()
        reports = [GuestSample(guest.name, self.now_s, guest.actual_bytes, used_mib * MIB) for guest in self.held.known]
        self.held.balance(reports, wanted_mib * MIB, self.now_s, self.now_s)
        self.look()

    def look(self) -> None:
        self.arrived.clear()
        self.held.look(lambda: None)
        while not self.posted:
            assert self.arrived.wait(5.0)
        while self.posted:
            self.posted.popleft()()

    def sizes_mib(self) -> dict[str, int]:
        return {guest.name: guest.actual_bytes // MIB for guest in self.libvirt.guests()}


def test_four_guests_kept_at_4_of_16_gib_are_never_asked_up_to_16(tmp_path: Path) -> None:
    host = LibvirtHost(tmp_path, PLAIN)
    kept = dict.fromkeys((f"web{number}" for number in range(1, 5)), KEPT_MIB)
    for used_mib in (1000, 4000):
        host.round(used_mib, 0)
        assert host.sizes_mib() == kept
    for _ in range(10):
        host.round(1000, 2000)
    assert sum(kept.values()) - sum(host.sizes_mib().values()) == pytest.approx(2000, abs=16)
    for _ in range(20):
        host.round(4000, 0)
    assert host.sizes_mib() == kept


def test_guests_with_held_or_hidden_memory_are_left_alone_and_the_offer_says_why(tmp_path: Path) -> None:
    host = LibvirtHost(tmp_path, [*PLAIN, *SPECIAL])
    for _ in range(40):
        host.round(1000, 16_000)
    sizes = host.sizes_mib()
    assert {name: sizes[name] for name in ("huge", "locked", "gpu", "secret")} == dict.fromkeys(
        ("huge", "locked", "gpu", "secret"), KEPT_MIB
    )
    assert max(sizes[f"web{number}"] for number in range(1, 5)) < KEPT_MIB // 2
    plan = plan_offer(Limits(1000 * MIB, "they use little", 4000 * MIB, 0, 0, 0, 0, left_alone=host.held.left_alone))
    assert plan.reason == (
        "they use little; left alone: gpu (a device is passed through to it), secret (its memory is encrypted), "
        "huge (its memory is huge pages), locked (its memory is locked)"
    )
