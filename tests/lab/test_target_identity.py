"""Real tgtds as two lenders have them: whose disk is whose, and where they really listen. libiscsi's tools look."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramshare.errors import RamshareError
from ramshare.lender.exports.store import Exports
from ramshare.linux.disk_identity import disk_id
from ramshare.linux.portal import Portal, why_not_free
from ramshare.linux.ramdisk import Ramdisk
from ramshare.linux.run import SystemRunner
from ramshare.linux.tgt import Tgt
from ramshare.linux.tgt_service import TgtService
from ramshare.messages.names import target_of
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import Mode

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(
        shutil.which("iscsi-inq") is None, reason="not installed: iscsi-inq (apt-get install libiscsi-bin)"
    ),
]

US = "iqn.2026-01.net.ramshare:borrower.hostb"
SIZE_BYTES = 4 << 20
SERIAL, IDENTIFICATION = "128", "131"
"""Pages 0x80 and 0x83."""


class Lender:
    """A lender's exports with a tgtd and a RAM file system of its own, in this machine's own network."""

    def __init__(self, number: int, root: Path, portal: Portal, *, looks_first: bool = True) -> None:
        self.host = f"host{number}"
        self.portal = portal
        self.disk = Ramdisk(SystemRunner(), root / self.host)
        self.tgt = Tgt(SystemRunner(), control_port=21_000 + (os.getpid() * 4 + number) % 10_000)
        hindrance = why_not_free if looks_first else (lambda _portal: "")
        self.exports = Exports(self.disk, TgtService(self.tgt, portal, hindrance=hindrance), self.host)

    def lend(self, lease: str) -> None:
        wanted = ExportLease(
            lease=lease,
            borrower="borrower.b",
            initiator=US,
            size_bytes=SIZE_BYTES,
            mode=Mode.MIRROR,
            login_within_s=60,
        )
        self.exports.create(wanted, 0)

    def inquiry(self, lease: str, page: str, proof: str = "") -> bytes:
        record = self.exports.records[lease]
        login = f"{record.chap_user}%{record.chap_secret.get_secret_value()}"
        demand = f"?target_user={record.proof_user}&target_password={proof}" if proof else ""
        url = f"iscsi://{login}@{self.portal}/{record.target}/1{demand}"
        about = ["-e", "1", "-c", page] if page else []
        return subprocess.run(["iscsi-inq", *about, "-i", US, url], check=True, capture_output=True).stdout

    def close(self) -> None:
        for lease in list(self.exports.records):
            self.exports.remove(lease, force=True)
        self.tgt.stop_daemon()
        self.disk.umount()


def free_port(address: str = "127.0.0.1") -> Portal:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return Portal.parse(f"[{address}]:{probe.getsockname()[1]}")


@pytest.fixture
def lenders(tmp_path: Path) -> Iterator[list[Lender]]:
    found = [Lender(1, tmp_path, free_port()), Lender(2, tmp_path, free_port("::1"))]
    try:
        yield found
    finally:
        for lender in found:
            lender.close()


def designators(page: bytes) -> list[bytes]:
    """Return what iscsi-inq prints of each designator: the bytes before the first zero."""
    return re.findall(rb"Designator:\[(.*?)\]\n", page, re.DOTALL)


def test_the_same_lease_of_two_lenders_is_two_disks_on_every_page(lenders: list[Lender]) -> None:
    """The kernel, udev and multipath tell disks apart by the NAA, which tgtd makes of the SCSI id."""
    pages = []
    for lender in lenders:
        lender.exports.start()
        lender.lend("l27-1")
        page = lender.inquiry("l27-1", IDENTIFICATION)
        digits = disk_id(target_of(lender.host, "l27-1"))
        assert digits.encode() in designators(page)
        assert bytes.fromhex(digits).partition(b"\0")[0] in designators(page)
        assert b"RAMSHARE" in lender.inquiry("l27-1", "")
        pages.append(designators(page))
    assert not set(pages[0]) & set(pages[1])


def test_a_target_proves_itself_by_the_secret_that_its_lender_gave_and_by_no_other(lenders: list[Lender]) -> None:
    lender = lenders[0]
    lender.exports.start()
    lender.lend("l1")
    secret = lender.exports.records["l1"].proof_secret.get_secret_value()
    assert b"RAMSHARE" in lender.inquiry("l1", "", proof=secret)
    with pytest.raises(subprocess.CalledProcessError):
        lender.inquiry("l1", "", proof="another-secret-of-32-characters")


def test_two_leases_of_one_lender_are_two_disks_and_one_that_is_served_again_is_the_same(
    lenders: list[Lender],
) -> None:
    lender = lenders[0]
    lender.exports.start()
    lender.lend("lx-1")
    lender.lend("lz-1")
    before = [lender.inquiry(lease, page) for lease in ("lx-1", "lz-1") for page in (SERIAL, IDENTIFICATION)]
    assert len(set(before)) == 4
    for target in lender.tgt.show():
        lender.tgt.delete_target(target.iqn)
    lender.tgt.stop_daemon()
    assert lender.exports.look() == {"lx-1": False, "lz-1": False}
    assert before == [lender.inquiry(lease, page) for lease in ("lx-1", "lz-1") for page in (SERIAL, IDENTIFICATION)]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_lender_serves_its_address_only(tmp_path: Path, address: str) -> None:
    lender = Lender(3, tmp_path, free_port(address))
    try:
        lender.exports.start()
        assert lender.tgt.portals() == {lender.portal}
        assert lender.exports.misplaced == ""
    finally:
        lender.close()


@pytest.mark.parametrize("looks_first", [True, False])
@pytest.mark.parametrize("foreign", [True, False])
def test_a_taken_port_and_a_foreign_address_leave_no_target_that_listens_everywhere(
    tmp_path: Path, looks_first: bool, foreign: bool
) -> None:
    """tgtd itself falls back to every address of the host; also when the port is taken just before it is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = "203.0.113.9:3260" if foreign else f"127.0.0.1:{other.getsockname()[1]}"
        lender = Lender(3, tmp_path, Portal.parse(place), looks_first=looks_first)
        try:
            with pytest.raises(RamshareError):
                lender.exports.start()
            assert lender.exports.misplaced
            assert not lender.tgt.ready()
        finally:
            lender.close()
