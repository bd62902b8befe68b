"""A real tgtd on a real RAM file system in its own network namespace, with libiscsi's tools as the initiator."""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ramshare.linux.memory import read_memory
from ramshare.linux.portal import Portal
from ramshare.linux.ramdisk import NotEnoughMemoryError, Ramdisk, RamdiskError
from ramshare.linux.run import SystemRunner
from ramshare.linux.target import Export, TargetBusyError
from ramshare.linux.tgt import Tgt

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(
        shutil.which("iscsi-inq") is None, reason="not installed: iscsi-inq (apt-get install libiscsi-bin)"
    ),
]

IQN = "iqn.2026-01.net.ramshare:lender.hosta:lease1"
US = "iqn.2026-01.net.ramshare:borrower.hostb"
SECRET = "correct-horse-14"
SIZE_BYTES = 32 * 1024 * 1024


@pytest.fixture(scope="module")
def namespace() -> Iterator[SystemRunner]:
    name = f"rs-test-{os.getpid()}"
    host = SystemRunner()
    host.run(["ip", "netns", "add", name])
    try:
        host.run(["ip", "-n", name, "link", "set", "lo", "up"])
        # Not `ip netns exec`: it has a mount namespace of its own, which would not see a RAM disk mounted later.
        yield SystemRunner(["nsenter", f"--net=/run/netns/{name}", "--"])
    finally:
        host.run(["ip", "netns", "delete", name])


@pytest.fixture
def ramdisk(tmp_path: Path) -> Iterator[Ramdisk]:
    disk = Ramdisk(SystemRunner(), tmp_path / "ram")
    disk.mount()
    try:
        yield disk
    finally:
        for name in disk.images():
            disk.free(name)
        disk.umount()


@pytest.fixture
def tgt(namespace: SystemRunner, ramdisk: Ramdisk, tmp_path: Path) -> Iterator[Tgt]:
    """Depend on `ramdisk` so that the target goes first when both are taken down."""
    target = Tgt(namespace, control_port=20_000 + os.getpid() % 10_000)
    daemon = target.start_daemon(Portal.parse("127.0.0.1:3260"), log_path=tmp_path / "tgtd.log")
    assert daemon is not None
    try:
        until(target.ready)
        yield target
    finally:
        for found in target.show():
            target.delete_target(found.iqn, force=True)
        target.stop_daemon()
        daemon.wait(10)


@pytest.fixture
def export(tgt: Tgt, ramdisk: Ramdisk) -> Export:
    image = ramdisk.allocate("lease1", SIZE_BYTES)
    wanted = Export(1, IQN, image, US, "lease1", SECRET, thin=ramdisk.can_unmap, serial="lease1")
    tgt.export(wanted)
    return wanted


def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def holders(path: Path) -> list[str]:
    """Return the open file descriptors, of any process, on `path`, deleted or not."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(link.readlink()).removesuffix(" (deleted)") == str(path):
                found.append(str(link))
    return found


def initiator(namespace: SystemRunner, tool: str, *, name: str = US, secret: str = SECRET) -> tuple[int, str]:
    """Run one of libiscsi's tools against the export; return its exit status and what it printed."""
    url = f"iscsi://lease1%{secret}@127.0.0.1:3260/{IQN}/1"
    done = namespace.run([tool, "-i", name, url], ok=range(256))
    return done.returncode, done.stdout + done.stderr


def test_the_named_initiator_with_the_secret_finds_a_disk_of_the_right_size(
    namespace: SystemRunner, export: Export
) -> None:
    status, text = initiator(namespace, "iscsi-inq")
    assert status == 0
    assert "DIRECT_ACCESS" in text
    status, text = initiator(namespace, "iscsi-readcapacity16")
    assert status == 0
    assert str(SIZE_BYTES) in text


def test_a_wrong_secret_is_refused(namespace: SystemRunner, export: Export) -> None:
    status, text = initiator(namespace, "iscsi-inq", secret="not-the-secret-1")
    assert status != 0
    assert "Authentication failure" in text


def test_another_initiator_name_is_refused_even_with_the_secret(namespace: SystemRunner, export: Export) -> None:
    status, text = initiator(namespace, "iscsi-inq", name="iqn.2026-01.net.ramshare:borrower.hostc")
    assert status != 0
    assert "Target not found" in text


def test_exporting_twice_changes_nothing(namespace: SystemRunner, tgt: Tgt, export: Export) -> None:
    before = tgt.show()
    tgt.export(export)
    assert tgt.show() == before
    [target] = before
    assert (target.tid, target.iqn, target.initiators, target.accounts) == (1, IQN, (US,), ("lease1",))
    assert [(lun.lun, lun.path, lun.serial) for lun in target.luns] == [(1, str(export.path), "lease1")]
    assert initiator(namespace, "iscsi-inq")[0] == 0


def test_a_target_in_use_is_not_removed_unless_forced(namespace: SystemRunner, tgt: Tgt, export: Export) -> None:
    reader = namespace.spawn(["iscsi-perf", "-i", US, f"iscsi://lease1%{SECRET}@127.0.0.1:3260/{IQN}/1"])
    try:
        until(lambda: [session.initiator for target in tgt.show() for session in target.sessions] == [US])
        with pytest.raises(TargetBusyError, match=r"borrower\.hostb"):
            tgt.delete_target(IQN)
        tgt.delete_target(IQN, force=True)
        assert tgt.show() == []
    finally:
        reader.kill()
        reader.wait(10)


def test_no_process_list_ever_shows_the_secret(tgt: Tgt, ramdisk: Ramdisk) -> None:
    """Read every command line of the machine, over and over, while an export is made and removed."""
    image = ramdisk.allocate("lease1", SIZE_BYTES)
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_text(errors="replace"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(5):
            tgt.export(Export(1, IQN, image, US, "lease1", SECRET))
            tgt.delete_target(IQN)
    finally:
        done.set()
        watcher.join()
    assert any("tgtadm" in line for line in seen), "the watch saw nothing at all"
    assert not any(SECRET in line for line in seen)


def test_the_memory_is_let_go_only_when_target_and_image_are_gone(tgt: Tgt, ramdisk: Ramdisk) -> None:
    image = ramdisk.allocate("lease1", SIZE_BYTES)
    tgt.export(Export(1, IQN, image, US, "lease1", SECRET))
    assert holders(image)
    ramdisk.free("lease1")
    assert holders(image), "tgtd still holds the deleted file, so its memory is not back yet"
    tgt.delete_target(IQN)
    assert not holders(image)


def test_every_page_of_a_new_image_is_there_and_zero(ramdisk: Ramdisk) -> None:
    before = os.statvfs(ramdisk.root).f_bfree if ramdisk.can_unmap else None
    image = ramdisk.allocate("lease1", SIZE_BYTES)
    assert image.read_bytes() == bytes(SIZE_BYTES)
    if before is not None:
        after = os.statvfs(ramdisk.root)
        assert (before - after.f_bfree) * after.f_frsize >= SIZE_BYTES


def test_an_image_larger_than_memory_is_refused_before_anything_is_written(ramdisk: Ramdisk) -> None:
    with pytest.raises(NotEnoughMemoryError):
        ramdisk.allocate("lease1", read_memory().total_bytes * 2)
    assert list(ramdisk.root.iterdir()) == []


def test_a_ram_file_system_with_images_is_not_unmounted(ramdisk: Ramdisk) -> None:
    ramdisk.allocate("lease1", 4096)
    with pytest.raises(RamdiskError, match="1 image"):
        ramdisk.umount()
