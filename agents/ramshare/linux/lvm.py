"""LVM: what is true (`Lvm.report`) and the few operations that bring a swap volume onto lent memory and home again.

Every operation may be repeated: it ends well if what it asks for is already so. LVM commands are never killed early
(one that dies between suspend and resume leaves a device suspended), hence the long time limits. Used by the borrower
and the lab.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ramshare.linux.ballast import Ballast
from ramshare.linux.host_checks.lvm_settings import strings, whole_configuration
from ramshare.linux.lvm_config import PINNED
from ramshare.linux.lvm_extents import first_extents
from ramshare.linux.lvm_filter import setting
from ramshare.linux.lvm_names import LvmUsageError, split_volume, tag_options
from ramshare.linux.lvm_report import LvmReportError, parse_report, report_argv
from ramshare.linux.lvm_state import (
    UNKNOWN_PV,
    Leg,
    LogicalVolume,
    LvmState,
    Move,
    PhysicalVolume,
    Segment,
    VolumeGroup,
)
from ramshare.linux.run import CommandError, Commands, Completed

__all__ = [
    "UNKNOWN_PV",
    "Leg",
    "LogicalVolume",
    "Lvm",
    "LvmState",
    "LvmUsageError",
    "Move",
    "PhysicalVolume",
    "Segment",
    "VolumeGroup",
    "split_volume",
]

FAILED = 5
"""The one exit status that LVM uses for every refusal (`ECMD_FAILED`)."""

REPORT_TIMEOUT_S = 60.0
CHANGE_TIMEOUT_S = 600.0
"""Changes wait for outstanding I/O: 9 s were measured in a swap storm on a slow disk; a dead lender adds more."""
MOVE_TIMEOUT_S = 24 * 3600.0
"""A move in the foreground lasts as long as the copy."""
POLL_S = 1
"""pvmove's own poll interval; its default of 15 s adds up to that much to every move."""

MOVE_REGION_BYTES = 16 << 20
"""pvmove copies region by region, each begun when the one before has ended: in LVM's own 2 MiB neither disk is kept
busy (kcopyd has up to 8 requests under way). Writes to the region that is being copied wait for it, so no larger."""
_MOVE_REGIONS = (
    f"activation/raid_region_size={MOVE_REGION_BYTES >> 10} activation/mirror_region_size={MOVE_REGION_BYTES >> 10}"
)
"""Which of the two counts depends on LVM's version. LVM takes less where the volume's extents do not allow it."""
_MIXED_SECTORS = "devices/allow_mixed_block_sizes=1"
"""A lease has sectors of 512 bytes, a disk at home may have 4096. LVM refuses the mix for the sake of file systems;
swap is read and written in whole pages, which are aligned to both."""

DEVICES_FILES = Path("/etc/lvm/devices")
"""Where LVM lists the disks that it uses, on hosts that have it so (RHEL 9 does by default)."""
_UDEV_CONTROL = Path("/run/udev/control")


class Lvm:
    """LVM on this machine, or wherever the runner runs its commands."""

    def __init__(
        self,
        runner: Commands,
        *,
        udev: bool | None = None,
        config: str = "",
        ballast: Ballast | None = None,
        devices_files: Path = DEVICES_FILES,
        hidden: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Take `udev=None` for "look whether udevd runs"; `config` is added to LVM's `--config`.

        `ballast` is dropped during every change. `hidden` returns patterns for what LVM must not see at this moment,
        besides what the owner's filter hides (see `lvm_filter.py`).
        """
        self._runner = runner
        self._devices_files = devices_files
        self._ballast = ballast or Ballast()
        udev = _UDEV_CONTROL.exists() if udev is None else udev
        # Without udevd LVM must create the device nodes itself, or pvmove hangs after its last poll.
        # lvmpolld would run its commands without this configuration; so a pvmove watches itself.
        parts = [PINNED, "global{use_lvmpolld=0}", *([] if udev else ["activation{udev_sync=0 udev_rules=0}"])]
        self._hidden = hidden
        self._settings: Mapping[str, str] | None = None
        self._config = " ".join(filter(None, [*parts, config]))

    # What is true

    def report(self, vg: str | None = None) -> LvmState:
        """Return physical volumes, groups and volumes, of `vg` only if given. One process start.

        What LVM could not read of other groups is left out and stands in `complaints`; some versions end with an error
        then. Raises `LvmReportError` if nothing is left.
        LVM reads every disk, so one whose session is down makes it wait for that session's time-outs.
        """
        argv = self._with_config(report_argv(vg))
        ok = (0, FAILED) if vg is None else (0,)
        done = self._runner.run(argv, timeout_s=REPORT_TIMEOUT_S, ok=ok)
        state = parse_report(done.stdout, done.stderr)
        if done.returncode == FAILED and not state.vgs:
            raise LvmReportError(f"LVM could not make its report{state.because()}")
        return state

    # Physical volumes

    def create_pv(self, device: str, *, ours: bool = False) -> None:
        """Label `device` without room for metadata. `ours`: overwrite the label of a group that no longer knows it."""
        force = ["-ff"] if ours else []
        try:
            self._change(["pvcreate", "--yes", *force, "--pvmetadatacopies", "0", device])
        except CommandError:
            if self._vg_of(device) is None:
                raise

    def extend_vg(self, vg: str, device: str, tags: Sequence[str] = (), *, ours: bool = False) -> None:
        """Put `device` into `vg` (labelling it if need be) and tag it. `ours` as in `create_pv`."""
        try:
            self._change(["vgextend", "--yes", "--pvmetadatacopies", "0", vg, device], extra=_MIXED_SECTORS)
        except CommandError:
            known = self._vg_of(device)
            # A group that was restored without it calls a disk's label that of an unknown group.
            if ours and known in (None, "", UNKNOWN_PV):
                self.create_pv(device, ours=True)
                self._change(["vgextend", "--yes", vg, device], extra=_MIXED_SECTORS)
            elif known != vg:
                raise
        if tags:
            self.change_pv_tags(device, add=tags)

    def reduce_vg(self, vg: str, *devices: str) -> None:
        """Take empty `devices` out of `vg`; their labels stay."""
        self._change_unless(["vgreduce", vg, *devices], "Failed to find physical volume", "not found in Volume Group")

    def forget_disk(self, wwid: str) -> None:
        """Take a disk that is gone for good out of LVM's devices file; no such file, or no entry in it, is success.

        LVM itself puts every disk that it labels into the file, and leaves it there (lvmdevices(8)).
        """
        if any(self._devices_files.glob("*.devices")):
            argv = ["lvmdevices", "--yes", "--deviceidtype", "sys_wwid", "--deldev", wwid]
            self._runner.run(self._with_config(argv), timeout_s=CHANGE_TIMEOUT_S, ok=(0, FAILED))

    def change_pv_tags(self, device: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove tags of a physical volume that is in a group."""
        if add or remove:
            self._change(["pvchange", *tag_options(add, remove), device])

    # Tags of volumes

    def change_lv_tags(self, lv: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove tags of `VG/LV` in one step."""
        split_volume(lv)
        if add or remove:
            self._change(["lvchange", *tag_options(add, remove), lv])

    # Move

    def start_move(
        self, lv: str, source: str, destinations: Sequence[str], size_bytes: int = 0, *, background: bool = True
    ) -> None:
        """Move what `VG/LV` has on `source` to `destinations`, all or nothing; `report` shows how far it is.

        With `size_bytes` only so much, rounded up to extents: the volume's first ones that lie there.
        Does nothing if there is nothing on `source`; joins a move of it that is already running.
        """
        _, name = split_volume(lv)
        source = self._first_extents(lv, source, size_bytes) if size_bytes else source
        options = ["--background"] if background else []
        argv = ["pvmove", *options, "--interval", str(POLL_S), "--atomic", "--name", name, source, *destinations]
        timeout_s = CHANGE_TIMEOUT_S if background else MOVE_TIMEOUT_S
        self._change_unless(argv, "No data to move", timeout_s=timeout_s, extra=_MOVE_REGIONS)

    def _first_extents(self, lv: str, source: str, size_bytes: int) -> str:
        def ask(command: str, *columns: str) -> str:
            argv = [command, "--noheadings", "--units", "b", "--nosuffix", *columns]
            return self._runner.run(self._with_config(argv), timeout_s=REPORT_TIMEOUT_S).stdout

        extent_bytes = int(ask("vgs", "-o", "vg_extent_size", split_volume(lv)[0]))
        ranges = ask("lvs", "--segments", "-o", "seg_pe_ranges", lv)
        return first_extents(ranges, source, -(-size_bytes // extent_bytes))

    def resume_moves(self) -> None:
        """Have every interrupted pvmove of this machine watched and finished again, in the background."""
        self._change(["pvmove", "--background", "--interval", str(POLL_S)])

    def abort_move(self, source: str = "") -> None:
        """End the pvmove from `source` (or every one); with `--atomic` all data is on the source afterwards."""
        self._change(["pvmove", "--abort", *filter(None, [source])])

    def activate(self, lv: str) -> None:
        """Make `VG/LV` usable; usable already is success."""
        split_volume(lv)
        self._change(["lvchange", "--activate", "y", lv])

    # The place at home

    def reserve(self, lv: str, size_bytes: int, devices: Sequence[str]) -> None:
        """Hold `size_bytes` on `devices` by an inactive placeholder volume `VG/LV`; one that exists is success."""
        vg, name = split_volume(lv)
        options = ["--activate", "n", "--zero", "n", "--wipesignatures", "n"]
        argv = ["lvcreate", "--yes", *options, "--name", name, "--size", f"{size_bytes}b", vg, *devices]
        self._change_unless(argv, "already exists in volume group")

    def unreserve(self, lv: str) -> None:
        """Give the placeholder up; none is success."""
        split_volume(lv)
        self._change_unless(["lvremove", "--yes", lv], "Failed to find logical volume")

    # Mirror

    def mirror(self, lv: str, pvs: Sequence[str], region_bytes: int) -> None:
        """Add a raid1 leg on `pvs`; its copy runs in the kernel. Does nothing to a volume that is raid1 already."""
        split_volume(lv)
        size = ["--regionsize", f"{region_bytes}b"]
        self._change(["lvconvert", "--yes", "--type", "raid1", "--mirrors", "1", *size, lv, *pvs])

    def add_leg(self, lv: str, pvs: Sequence[str], copies: int) -> None:
        """Add a leg on `pvs` to a raid1 volume, which then has `copies`. LVM refuses unless all others are in sync."""
        split_volume(lv)
        self._change(["lvconvert", "--yes", "--mirrors", str(copies - 1), lv, *pvs])

    def set_recovery_rate(self, lv: str, least_kib_s: int) -> None:
        """Have md copy to a raid1 volume's new legs at least so fast, whatever else is going on; kept by the volume."""
        split_volume(lv)
        self._change(["lvchange", "--minrecoveryrate", f"{least_kib_s}k", lv])

    def set_write_mostly(self, lv: str, pv: str, on: bool = True, *, write_behind: int | None = None) -> None:
        """Read from the leg on `pv` only if there is no other. LVM refuses before the volume is in sync."""
        split_volume(lv)
        behind = [] if write_behind is None else ["--writebehind", str(write_behind)]
        self._change(["lvchange", "--writemostly", f"{pv}:{'y' if on else 'n'}", *behind, lv])

    def split_leg(self, lv: str, pvs: Sequence[str], copies: int = 1, *, failed: bool = False) -> None:
        """Drop the raid1 legs on `pvs` (all of their devices), so that `copies` stay; nothing is copied.

        Harmless on a linear volume. LVM drops a `failed` first leg by force only.
        """
        split_volume(lv)
        force = ["--force"] if failed else []
        self._change(["lvconvert", "--yes", *force, "--mirrors", str(copies - 1), lv, *pvs])

    # After a lender died

    def drop_missing(self, vg: str) -> None:
        """Forget physical volumes whose device is gone; a raid1 leg there becomes an error target."""
        self._change(["vgreduce", "--removemissing", "--force", vg])

    def forget_leg(self, lv: str, copies: int = 1) -> None:
        """Leave a raid1 volume its healthy legs, or make it linear on one; after `drop_missing`.

        LVM takes the legs that are error targets first; naming devices would be refused.
        """
        split_volume(lv)
        self._change(["lvconvert", "--yes", "--mirrors", str(copies - 1), lv])

    def vgcfgbackup(self, vg: str, path: Path) -> None:
        """Write the group's metadata to `path`, for `vgcfgrestore`."""
        self._change(["vgcfgbackup", "--file", str(path), vg])

    def vgcfgrestore(self, vg: str, path: Path) -> None:
        """Write the metadata of `path` back; the devices' tables do not change."""
        self._change(["vgcfgrestore", "--force", "--yes", "--file", str(path), vg])

    # How

    def _with_config(self, argv: Sequence[str], extra: str = "") -> list[str]:
        at = 2 if argv[0] == "lvm" else 1
        text = " ".join(filter(None, [self._config, self._filter(), extra]))
        return [*argv[:at], *(["--config", text] if text else []), *argv[at:]]

    def _filter(self) -> str:
        """Return the setting that hides `hidden`. What the owner has set is asked for once, when it first matters."""
        patterns = self._hidden()
        if not patterns:
            return ""
        if self._settings is None:
            self._settings = whole_configuration(self._runner)
        # With a devices file LVM looks at no filter, and only at disks that it labelled itself.
        if self._settings.get("devices/use_devicesfile") == "1" and any(self._devices_files.glob("*.devices")):
            return ""
        return setting([*patterns, *strings(self._settings, "devices/filter")])

    def _change(self, argv: Sequence[str], timeout_s: float = CHANGE_TIMEOUT_S, extra: str = "") -> Completed:
        with self._ballast.dropped():
            return self._runner.run(self._with_config(argv, extra), timeout_s=timeout_s)

    def _change_unless(
        self, argv: Sequence[str], *harmless: str, timeout_s: float = CHANGE_TIMEOUT_S, extra: str = ""
    ) -> None:
        try:
            self._change(argv, timeout_s, extra)
        except CommandError as error:
            if error.done.returncode != FAILED or not any(words in error.done.stderr for words in harmless):
                raise

    def _vg_of(self, device: str) -> str | None:
        """Return the group that `device` is in, empty for none, None if it is no physical volume that LVM knows."""
        pv = self.report().pv(device)
        return pv.vg if pv else None
