"""LVM: reports of a real kernel are read right, and every change is one exact command that may be repeated."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.fakes import FakeRunner
from kit.linux_data import lvm_report
from ramshare.linux.lvm import Lvm, LvmUsageError, Segment, split_volume
from ramshare.linux.lvm_extents import first_extents
from ramshare.linux.lvm_report import LvmReportError, parse_report
from ramshare.linux.lvm_state import LogicalVolume
from ramshare.linux.run import CommandError

pytestmark = pytest.mark.unit

MIB = 1024 * 1024
REPORT = ("lvm", "fullreport", ...)


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner().on(*REPORT, stdout=lvm_report("joined"))


@pytest.fixture
def lvm(runner: FakeRunner) -> Lvm:
    return tool(runner)


def tool(runner: FakeRunner) -> Lvm:
    """Return an `Lvm` without `--config`, so that commands read as one would type them."""
    made = Lvm(runner, udev=True)
    made._config = ""
    return made


def swap_in(name: str) -> LogicalVolume:
    volume = parse_report(lvm_report(name)).lv("vg0/swap")
    assert volume is not None
    return volume


def changes(runner: FakeRunner) -> list[str]:
    return [" ".join(call) for call in runner.calls if call[1:2] != ("fullreport",)]


# Reading


def test_a_linear_volume_lies_on_its_disk() -> None:
    volume = swap_in("linear")
    assert (volume.size_bytes, volume.pvs, volume.open) == (64 * MIB, {"/dev/vda": 64 * MIB}, True)
    assert not volume.is_mirror
    assert volume.copy_percent is None
    assert volume.move_pv == ""


def test_physical_volumes_have_their_tags_and_free_space() -> None:
    state = parse_report(lvm_report("joined"))
    lease = state.pv("/dev/sda")
    assert lease is not None
    assert (lease.vg, set(lease.tags), lease.free_bytes) == ("vg0", {"ramshare.lease=1"}, lease.size_bytes)
    assert state.pv("/dev/nothere") is None
    group = state.vg("vg0")
    assert group is not None
    assert (group.extent_bytes, group.missing_pvs) == (4 * MIB, 0)


def test_a_disk_that_lvm_sees_twice_is_known_by_its_warning() -> None:
    runner = FakeRunner()
    uuid = "ysE9Mx-pRMP-mN3n-F1ps-L3ie-Uoiw-UnL2O9"
    disk = parse_report(lvm_report("linear")).pvs[0]
    warning = f"  WARNING: Not using device /dev/loop1 for PV {uuid}.\n"
    runner.on(*REPORT, stdout=lvm_report("linear").replace(disk.uuid, uuid), stderr=warning)
    assert [pv.duplicate for pv in tool(runner).report().pvs] == [True, False, False]
    assert not disk.duplicate


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("striped", {"/dev/loop0": 20, "/dev/loop1": 20}),
        ("mixed", {"/dev/loop0": 40, "/dev/loop1": 20, "/dev/loop2": 20}),
        ("raid5", {"/dev/loop0": 24, "/dev/loop1": 24, "/dev/loop2": 24}),
        ("raid10", {"/dev/loop0": 24, "/dev/loop1": 24, "/dev/loop2": 24, "/dev/loop3": 24}),
        ("mirror", {"/dev/loop0": 40, "/dev/loop1": 40}),
        ("integrity", {"/dev/loop0": 52, "/dev/loop1": 52}),
        ("cache", {"/dev/loop0": 40, "/dev/loop1": 24}),
        ("cachevol", {"/dev/loop0": 40, "/dev/loop1": 16}),
        ("writecache", {"/dev/loop0": 40, "/dev/loop1": 16}),
        ("multi", {"/dev/loop0": 60, "/dev/loop1": 40}),
    ],
)
def test_every_device_below_a_volume_counts_whatever_lies_between(name: str, places: dict[str, int]) -> None:
    volume = parse_report(lvm_report(f"kinds/{name}")).existing("vg1/swap")
    assert volume.pvs == {device: mib * MIB for device, mib in places.items()}


def test_a_pool_has_its_metadata_and_a_thin_volume_its_pools_health() -> None:
    state = parse_report(lvm_report("kinds/thin"))
    assert state.existing("vg1/pool").pvs == {"/dev/loop0": 60 * MIB, "/dev/loop3": 4 * MIB}
    assert state.existing("vg1/swap").pool == "pool"
    [spare] = state.loose
    assert (spare.name, sum(spare.pvs.values())) == ("lvol0_pmspare", 4 * MIB)
    late = parse_report(lvm_report("late_disk/thin_pool"))
    assert late.existing("vg0/pool").health == late.existing("vg0/guest1").health == "partial"


def test_during_a_pvmove_source_destination_and_progress_are_known_and_its_helpers_hidden() -> None:
    state = parse_report(lvm_report("moving"))
    assert [volume.full_name for volume in state.lvs] == ["vg0/swap"]
    [volume] = state.lvs
    [move] = volume.moves
    assert (volume.move_pv, volume.copy_percent) == ("/dev/vda", 68.75)
    assert volume.segments == (Segment("/dev/vda", 64 * MIB),)
    assert move.destinations == (Segment("/dev/sdb", 64 * MIB),)
    assert volume.pvs == {"/dev/vda": 64 * MIB, "/dev/sdb": 64 * MIB}


def test_a_syncing_mirror_shows_its_legs_and_how_far_it_is() -> None:
    volume = swap_in("syncing")
    assert volume.is_mirror
    assert (volume.copy_percent, volume.sync_action) == (12.7, "recover")
    assert [leg.segments for leg in volume.legs] == [
        (Segment("/dev/vda", 64 * MIB),),
        (Segment("/dev/sda", 64 * MIB),),
    ]
    assert volume.pvs["/dev/sda"] == 64 * MIB + 4 * MIB  # and one extent for the leg's metadata


def test_a_leg_may_lie_on_two_lenders_and_write_mostly_is_not_an_illness() -> None:
    volume = swap_in("mirrored")
    local, remote = volume.legs
    assert (local.writemostly, remote.writemostly) == (True, False)
    assert (local.health, remote.health, volume.health) == ("", "", "")
    assert remote.pvs == {"/dev/sda", "/dev/sdb"}
    assert (volume.write_behind, volume.region_bytes) == (512, 64 * MIB)


def test_a_dead_lender_shows_as_a_missing_device_and_a_partial_leg() -> None:
    state = parse_report(lvm_report("lender_dead"))
    volume = swap_in("lender_dead")
    assert [pv.name for pv in state.pvs if pv.missing] == ["[unknown]"]
    assert [leg.health for leg in volume.legs] == ["", "partial"]
    assert volume.health == "partial"


def test_after_the_missing_device_is_dropped_its_leg_has_no_place_any_more() -> None:
    volume = swap_in("missing_dropped")
    assert [leg.pvs for leg in volume.legs] == [{"/dev/vda"}, frozenset()]
    assert volume.health == "refresh needed"


def test_what_an_interrupted_conversion_left_is_debris_and_not_a_volume() -> None:
    document = json.loads(lvm_report("linear"))
    [report] = document["report"]
    template = report["lv"][0] | {"lv_active": "", "lv_suspended": "unknown", "lv_device_open": "unknown"}
    for name in ("swap_rimage_1", "swap_rmeta_0", "swap_rmeta_1"):
        report["lv"].append(template | {"lv_name": name})
    # Names alone prove nothing: an active volume, or one without the volume it would belong to, is somebody's.
    report["lv"].append(template | {"lv_name": "swap_rimage_7", "lv_active": "active"})
    report["lv"].append(template | {"lv_name": "other_rmeta_0"})
    state = parse_report(json.dumps(document))
    assert set(state.debris) == {"vg0/swap_rimage_1", "vg0/swap_rmeta_0", "vg0/swap_rmeta_1"}
    assert {volume.name for volume in state.lvs} == {"swap", "swap_rimage_7", "other_rmeta_0"}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"report": [{"lv": [{"lv_name": "x"}]}]}', '{"report": 1}'])
def test_something_else_than_a_report_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(LvmReportError):
        parse_report(text)


# Loans


def test_one_process_answers_everything(runner: FakeRunner, lvm: Lvm) -> None:
    lvm.report("vg0")
    [call] = runner.calls
    assert call[:2] == ("lvm", "fullreport")
    assert call[-1] == "vg0"
    assert "--nosuffix" in call


def test_without_udev_lvm_is_told_to_make_its_own_device_nodes() -> None:
    runner = FakeRunner().on("lvs", ...).on("pvmove", ...)
    Lvm(runner, udev=False).resume_moves()
    [call] = runner.calls
    assert "udev_sync=0" in call[call.index("--config") + 1]


# Changing


def test_a_lease_joins_the_group_without_room_for_metadata_and_is_tagged(runner: FakeRunner, lvm: Lvm) -> None:
    runner.on("vgextend", ...).on("pvchange", ...)
    lvm.extend_vg("vg0", "/dev/sda", ["ramshare.lease=1"])
    assert changes(runner) == [
        "vgextend --config devices/allow_mixed_block_sizes=1 --yes --pvmetadatacopies 0 vg0 /dev/sda",
        "pvchange --addtag ramshare.lease=1 /dev/sda",
    ]


def test_joining_twice_is_joining_once(runner: FakeRunner, lvm: Lvm) -> None:
    runner.on("vgextend", ..., returncode=5, stderr="Can't initialize PV '/dev/sda' without -ff.").on("pvchange", ...)
    lvm.extend_vg("vg0", "/dev/sda", ["ramshare.lease=1"])
    assert len(runner.ran("pvchange", ...)) == 1


def test_a_disk_of_another_group_is_not_taken(runner: FakeRunner, lvm: Lvm) -> None:
    runner.on("vgextend", ..., returncode=5, stderr="already in volume group vg0")
    with pytest.raises(CommandError):
        lvm.extend_vg("vg1", "/dev/sda", ["x"], ours=True)
    assert runner.ran("pvchange", ...) == []


def test_a_label_that_no_group_knows_is_overwritten_only_on_a_disk_of_ours(runner: FakeRunner, lvm: Lvm) -> None:
    runner.on("vgextend", ...).on("pvcreate", ...)
    runner.on("vgextend", ..., returncode=5, stderr="Can't initialize PV '/dev/sdz' without -ff.", times=2)
    with pytest.raises(CommandError):
        lvm.extend_vg("vg0", "/dev/sdz")
    assert runner.ran("pvcreate", ...) == []
    lvm.extend_vg("vg0", "/dev/sdz", ours=True)
    assert changes(runner)[-2:] == [
        "pvcreate --yes -ff --pvmetadatacopies 0 /dev/sdz",
        "vgextend --config devices/allow_mixed_block_sizes=1 --yes vg0 /dev/sdz",
    ]


def test_leaving_twice_is_leaving_once(runner: FakeRunner, lvm: Lvm) -> None:
    runner.on("vgreduce", ..., returncode=5, stderr='  Failed to find physical volume "/dev/sda".')
    lvm.reduce_vg("vg0", "/dev/sda")


def test_a_disk_in_use_does_not_leave(runner: FakeRunner, lvm: Lvm) -> None:
    runner.on("vgreduce", ..., returncode=5, stderr='  Physical volume "/dev/sda" still in use')
    with pytest.raises(CommandError, match="still in use"):
        lvm.reduce_vg("vg0", "/dev/sda")


def test_tags_are_added_and_removed_in_one_step(runner: FakeRunner, lvm: Lvm) -> None:
    runner.on("lvchange", ...)
    lvm.change_lv_tags("vg0/swap", add=["a=1", "b"], remove=["c"])
    lvm.change_lv_tags("vg0/swap")
    assert changes(runner) == ["lvchange --addtag a=1 --addtag b --deltag c vg0/swap"]


@pytest.mark.parametrize("tag", ["", "-x", "a b", "a,b", "ä", "a\n", "a;b"])
def test_a_tag_that_lvm_would_not_take_is_refused_before_anything_runs(tag: str, lvm: Lvm, runner: FakeRunner) -> None:
    with pytest.raises(LvmUsageError):
        lvm.change_lv_tags("vg0/swap", add=[tag])
    assert runner.calls == []


def test_a_move_is_atomic_in_large_regions_watched_every_second_and_in_the_background(
    runner: FakeRunner, lvm: Lvm
) -> None:
    runner.on("pvmove", ...)
    lvm.start_move("vg0/swap", "/dev/vda", ["/dev/sda", "/dev/sdb"])
    regions = "activation/raid_region_size=16384 activation/mirror_region_size=16384"
    assert changes(runner) == [
        f"pvmove --config {regions} --background --interval 1 --atomic --name swap /dev/vda /dev/sda /dev/sdb"
    ]


def test_a_part_is_moved_by_its_first_extents(runner: FakeRunner, lvm: Lvm) -> None:
    runner.on("vgs", ..., stdout="  4194304\n").on("pvmove", ...)
    runner.on("lvs", ..., stdout="  /dev/sda:0-9 \n  /dev/vda:100-104 \n  /dev/vda:7-50 \n")
    lvm.start_move("vg0/swap", "/dev/vda", ["/dev/sdb"], (7 << 22) + 1)
    assert changes(runner)[-1].endswith("--name swap /dev/vda:100-104:7-9 /dev/sdb")


@pytest.mark.parametrize(
    ("count", "taken"),
    [(1, "/dev/vda:5-5"), (3, "/dev/vda:5-7"), (4, "/dev/vda:5-7:0-0"), (99, "/dev/vda:5-7:0-1")],
)
def test_the_first_extents_of_a_volume_are_taken_in_its_own_order(count: int, taken: str) -> None:
    assert first_extents("  /dev/vda:5-7 \n  /dev/vdb:0-9 \n  /dev/vda:0-1 \n", "/dev/vda", count) == taken


def test_moving_what_is_there_already_is_success_and_any_other_failure_is_not(runner: FakeRunner, lvm: Lvm) -> None:
    runner.on("pvmove", ..., returncode=5, stderr="  No data to move for vg0.")
    lvm.start_move("vg0/swap", "/dev/vda", ["/dev/sda"])
    runner.on("pvmove", ..., returncode=5, stderr="  Insufficient free space")
    with pytest.raises(CommandError, match="Insufficient"):
        lvm.start_move("vg0/swap", "/dev/vda", ["/dev/sda"])


def test_the_commands_of_a_mirrors_life(runner: FakeRunner, lvm: Lvm) -> None:
    for name in ("lvconvert", "lvchange", "vgreduce", "pvmove", "vgcfgbackup", "vgcfgrestore"):
        runner.on(name, ...)
    lvm.mirror("vg0/swap", ["/dev/sda", "/dev/sdb"], 64 * MIB)
    lvm.set_write_mostly("vg0/swap", "/dev/vda", write_behind=512)
    lvm.split_leg("vg0/swap", ["/dev/sda", "/dev/sdb"])
    lvm.drop_missing("vg0")
    lvm.forget_leg("vg0/swap")
    lvm.add_leg("vg0/swap", ["/dev/sdc"], 3)
    lvm.split_leg("vg0/swap", ["/dev/vda"], 2)
    lvm.split_leg("vg0/swap", ["/dev/sdc"], failed=True)
    lvm.forget_leg("vg0/swap", 2)
    lvm.abort_move("/dev/vda")
    lvm.vgcfgbackup("vg0", Path("/run/x"))
    lvm.vgcfgrestore("vg0", Path("/run/x"))
    assert changes(runner) == [
        "lvconvert --yes --type raid1 --mirrors 1 --regionsize 67108864b vg0/swap /dev/sda /dev/sdb",
        "lvchange --writemostly /dev/vda:y --writebehind 512 vg0/swap",
        "lvconvert --yes --mirrors 0 vg0/swap /dev/sda /dev/sdb",
        "vgreduce --removemissing --force vg0",
        "lvconvert --yes --mirrors 0 vg0/swap",
        "lvconvert --yes --mirrors 2 vg0/swap /dev/sdc",
        "lvconvert --yes --mirrors 1 vg0/swap /dev/vda",
        "lvconvert --yes --force --mirrors 0 vg0/swap /dev/sdc",
        "lvconvert --yes --mirrors 1 vg0/swap",
        "pvmove --abort /dev/vda",
        "vgcfgbackup --file /run/x vg0",
        "vgcfgrestore --force --yes --file /run/x vg0",
    ]


def test_the_place_at_home_is_held_by_a_volume_that_nobody_activates(runner: FakeRunner, lvm: Lvm) -> None:
    runner.on("lvcreate", ..., returncode=5, stderr='  Logical Volume "swap.home" already exists in volume group "vg0"')
    runner.on("lvremove", ..., returncode=5, stderr='  Failed to find logical volume "vg0/swap.home"')
    lvm.reserve("vg0/swap.home", 64 * MIB, "/dev/vda")
    lvm.unreserve("vg0/swap.home")
    assert "--activate n" in changes(runner)[0]


@pytest.mark.parametrize(
    "name", ["", "swap", "vg0/", "/swap", "vg0/swap/x", "-a/b", "vg0/-rf", "vg 0/swap", "vg0/sw\nap"]
)
def test_what_is_no_volume_name_never_reaches_a_command(name: str, lvm: Lvm, runner: FakeRunner) -> None:
    with pytest.raises(LvmUsageError, match="not a logical volume"):
        lvm.start_move(name, "/dev/vda", ["/dev/sda"])
    assert runner.calls == []


@given(st.text(max_size=20))
def test_any_text_splits_into_two_safe_names_or_is_refused(text: str) -> None:
    try:
        names = split_volume(text)
    except LvmUsageError:
        return
    assert "/".join(names) == text
    assert not any(name.startswith("-") or not name.isascii() or " " in name for name in names)


# The devices file


def test_a_disk_that_left_is_taken_out_of_the_devices_file_by_its_own_id(tmp_path: Path, runner: FakeRunner) -> None:
    (tmp_path / "system.devices").write_text("VERSION=1.1.2\n")
    lvm = Lvm(runner, udev=True, devices_files=tmp_path)
    for status in (0, 5):  # 5: it has no such entry, or LVM goes by no file
        runner.on("lvmdevices", ..., returncode=status)
        lvm.forget_disk("naa.6727")
    assert runner.calls[-1][-3:] == ("sys_wwid", "--deldev", "naa.6727")


def test_where_lvm_has_no_devices_file_none_is_changed(tmp_path: Path, runner: FakeRunner) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        Lvm(runner, udev=True, devices_files=place).forget_disk("naa.6727")
    assert runner.calls == []
