"""Sessions as sysfs shows them, over a tree with the files and names of a real kernel 6.1."""

from pathlib import Path

import pytest

from ramshare.linux.iscsi_sessions import SWAP_QUEUE, Session, delete_disk, multipath_map_over, sessions, tune_disk

pytestmark = pytest.mark.unit


def add_session(root: Path, number: int, iqn: str, *, disk: str | None = "sda", state: str = "LOGGED_IN") -> Path:
    """Lay out one session as the kernel does: LUN 0 is the target's controller and has no disk."""
    host = root / f"devices/platform/host{number}/session{number}"
    connection = host / f"connection{number}:0/iscsi_connection/connection{number}:0"
    entry = host / f"iscsi_session/session{number}"
    for path in (connection, entry, host / f"target{number}:0:0/{number}:0:0:0"):
        path.mkdir(parents=True)
    (connection / "persistent_address").write_text("10.77.0.11\n")
    (connection / "persistent_port").write_text("3260\n")
    for name, text in {"targetname": iqn, "state": state, "recovery_tmo": "5"}.items():
        (entry / name).write_text(f"{text}\n")
    (entry / "device").symlink_to(host)
    lun = host / f"target{number}:0:0/{number}:0:0:1"
    if disk:
        queue = lun / "block" / disk / "queue"
        queue.mkdir(parents=True)
        for name in SWAP_QUEUE:
            (queue / name).write_text("?")
        (lun / "block" / disk / "device").symlink_to(lun)
        (lun / "state").write_text("running\n")
        (lun / "delete").write_text("")
        (root / "class/block").mkdir(parents=True, exist_ok=True)
        (root / "class/block" / disk).symlink_to(lun / "block" / disk)
    (root / "class/iscsi_session").mkdir(parents=True, exist_ok=True)
    (root / "class/iscsi_session" / f"session{number}").symlink_to(entry)
    return entry


def test_no_iscsi_at_all_is_no_session(tmp_path: Path) -> None:
    assert sessions(tmp_path) == []


def test_a_session_has_its_target_portal_state_and_disk(tmp_path: Path) -> None:
    add_session(tmp_path, 2, "iqn.x:lease1")
    expected = Session(2, "iqn.x:lease1", "10.77.0.11:3260", "LOGGED_IN", "/dev/sda", 5, "running")
    assert sessions(tmp_path) == [expected]
    assert expected.healthy


def test_a_session_without_a_disk_or_waiting_to_come_back_is_not_healthy(tmp_path: Path) -> None:
    add_session(tmp_path, 1, "iqn.x:a", disk=None)
    add_session(tmp_path, 2, "iqn.x:b", state="FAILED")
    assert [(found.device, found.healthy) for found in sessions(tmp_path)] == [(None, False), ("/dev/sda", False)]


def test_a_session_that_vanishes_while_being_read_is_left_out(tmp_path: Path) -> None:
    (add_session(tmp_path, 1, "iqn.x:a") / "targetname").unlink()
    add_session(tmp_path, 2, "iqn.x:b", disk="sdb")
    assert [found.id for found in sessions(tmp_path)] == [2]


def test_a_disk_is_set_up_for_swap_as_far_as_the_kernel_lets_it(tmp_path: Path) -> None:
    add_session(tmp_path, 1, "iqn.x:a")
    scheduler = tmp_path / "class/block/sda/queue/scheduler"
    scheduler.unlink()
    scheduler.mkdir()  # cannot be written, like a setting that the driver refuses
    now = tune_disk("/dev/sda", root=tmp_path)
    assert now["rotational"] == "0"
    assert now == {**SWAP_QUEUE, "scheduler": ""}


def test_deleting_a_disk_twice_is_deleting_it_once(tmp_path: Path) -> None:
    entry = add_session(tmp_path, 1, "iqn.x:a")
    delete_disk("/dev/sda", tmp_path)
    assert (entry / "device/target1:0:0/1:0:0:1/delete").read_text() == "1"
    (tmp_path / "class/block/sda").unlink()
    delete_disk("/dev/sda", tmp_path)


@pytest.mark.parametrize(("uuid", "name"), [("mpath-3672616d0", "mpatha"), ("LVM-abc", "")])
def test_a_multipath_map_over_a_disk_is_seen_and_a_logical_volume_is_none(tmp_path: Path, uuid: str, name: str) -> None:
    add_session(tmp_path, 1, "iqn.x:a")
    assert multipath_map_over("/dev/sda", tmp_path) == ""
    dm = tmp_path / "class/block/sda/holders/dm-3/dm"
    dm.mkdir(parents=True)
    (dm / "uuid").write_text(f"{uuid}\n")
    (dm / "name").write_text("mpatha\n")
    assert multipath_map_over("/dev/sda", tmp_path) == name


@pytest.mark.parametrize(
    ("uuid", "mapper"), [("CRYPT-PLAIN-ramshare-a", "/dev/mapper/ramshare-a"), ("LVM-abc", None), ("mpath-36", None)]
)
def test_the_encrypted_device_over_a_disk_is_part_of_its_session(tmp_path: Path, uuid: str, mapper: str | None) -> None:
    add_session(tmp_path, 1, "iqn.x:a")
    dm = tmp_path / "class/block/sda/holders/dm-3/dm"
    dm.mkdir(parents=True)
    (dm / "uuid").write_text(f"{uuid}\n")
    (dm / "name").write_text("ramshare-a\n")
    assert [session.mapper for session in sessions(tmp_path)] == [mapper]
