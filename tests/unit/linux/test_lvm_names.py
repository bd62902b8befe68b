"""Names of volumes: exact, however people write them, and never somebody else's."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.linux.dm import volume_of_device
from ramshare.linux.lvm_names import dm_name, is_device_of, is_stub_of, split_dm_name, volume_of_path

pytestmark = pytest.mark.unit

NAMES = st.from_regex(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,10}", fullmatch=True).filter(lambda name: name.strip("."))


@given(vg=NAMES, lv=NAMES)
def test_a_device_mapper_name_is_one_volume_and_leads_back_to_it(vg: str, lv: str) -> None:

    assert split_dm_name(dm_name(vg, lv)) == (vg, lv)
    assert volume_of_path(f"/dev/mapper/{dm_name(vg, lv)}") == f"{vg}/{lv}"
    assert volume_of_path(f"{vg}/{lv}") == volume_of_path(f"/dev/{vg}/{lv}") == f"{vg}/{lv}"


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("/dev/mapper/vg0-swap", "vg0/swap"),
        ("/dev/mapper/debian--vg-swap_1", "debian-vg/swap_1"),
        ("/dev/mapper/a--b-c--d", "a-b/c-d"),
        ("/dev/disk/by-id/dm-name-vg0-swap", "vg0/swap"),
        ("vg.0/sw+ap.1", "vg.0/sw+ap.1"),
        ("/dev/mapper/control", None),
        ("/dev/mapper/a-b-c", None),
        ("/dev/dm-3", None),
        ("swap", None),
        ("vg0/-swap", None),
        ("/dev/disk/by-uuid/x", None),
    ],
)
def test_names_as_people_paste_them(text: str, volume: str | None) -> None:
    assert volume_of_path(text) == volume


@pytest.mark.parametrize(
    "name", ["vg0-swap", "vg0-swap_rimage_0", "vg0-swap_rmeta_12", "vg0-swap_rimage_1-missing_0_0"]
)
def test_a_volume_and_its_legs_are_its_own_devices(name: str) -> None:
    assert is_device_of(name, "vg0", "swap")


@pytest.mark.parametrize(
    "name",
    ["vg0-swap2", "vg0-swap--2", "vg0-swap-real", "vg0-swap-cow", "vg0-swap_ramshare_home", "vg0-swap_root_rimage_0"],
)
def test_what_only_begins_like_it_is_somebody_elses(name: str) -> None:
    assert not is_device_of(name, "vg0", "swap")
    assert not is_stub_of(f"{name}-missing_0_0", "vg0", "swap")


# ---- what takes a look at the host


@pytest.fixture
def host(tmp_path: Path) -> tuple[Path, Path]:
    """Return /sys and /dev of a host: dm-3 is vg0/sw-ap, dm-4 a crypt device, loop0 lies over dm-3."""
    sys, dev = tmp_path / "sys", tmp_path / "dev"
    for number, name, uuid in (
        (3, "vg0-sw--ap", "LVM-" + "v" * 32 + "FBvmt7qOPRSTuvwxyzABCDEFGHIJ0123"),
        (4, "c-d", "CRYPT-1"),
    ):
        entry = sys / f"block/dm-{number}/dm"
        entry.mkdir(parents=True)
        (entry / "name").write_text(f"{name}\n")
        (entry / "uuid").write_text(f"{uuid}\n")
    (sys / "block/loop0/loop").mkdir(parents=True)
    (sys / "class").mkdir()
    (sys / "class/block").symlink_to(sys / "block")
    for link in ("mapper", "disk/by-uuid", "vg0"):
        (dev / link).mkdir(parents=True)
    for device in ("dm-3", "dm-4", "loop0"):
        (dev / device).touch()
    (dev / "disk/by-uuid/5b2c1a3e-0001").symlink_to("../../dm-3")
    (sys / "block/loop0/loop/backing_file").write_text(f"{dev}/dm-3\n")
    return sys, dev


def test_device_numbers_loops_and_uuids_lead_to_the_volume_on_its_own_host(host: tuple[Path, Path]) -> None:
    sys, dev = host
    by_lvm = "FBvmt7-qOPR-STuv-wxyz-ABCD-EFGH-IJ0123"
    for text in (f"{dev}/dm-3", f"{dev}/loop0", "UUID=5b2c1a3e-0001", 'UUID="5b2c1a3e-0001"', "5b2c1a3e-0001", by_lvm):
        assert volume_of_device(text, sys, dev) == "vg0/sw-ap", text
    for text in (f"{dev}/dm-4", f"{dev}/dm-9", "UUID=none", by_lvm.replace("F", "G"), "", "swap", "../dm-3\0"):
        assert volume_of_device(text, sys, dev) is None, text
