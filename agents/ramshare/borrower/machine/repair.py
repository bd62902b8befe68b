"""What has to be done about leases whose lender died: clean up behind a mirror's leg, undo a move, write pages off.

LVM refuses to help where the volume is not a mirror; the tables below it do not. Before the first lease joins a volume
group, and again before every move, the group's metadata and the volume's table are kept; a rescue goes back to them.
Runs on the borrower's worker thread.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from ramshare.borrower.machine.iscsi import LeaseSessions
from ramshare.borrower.machine.lvm_tags import VolumeTags
from ramshare.borrower.plan.neighbours import waits_for
from ramshare.borrower.plan.tags import HOME_SUFFIX, pv_tag
from ramshare.borrower.plan.view import VolumeView
from ramshare.errors import RamshareError
from ramshare.linux import swap
from ramshare.linux.dm import Dmsetup, dm_name
from ramshare.linux.lvm import Lvm, split_volume
from ramshare.linux.lvm_names import is_device_of, is_stub_of
from ramshare.linux.lvm_state import LvmState
from ramshare.linux.memory import read_memory
from ramshare.linux.run import Commands

HOME, BEFORE_MOVE = "home", "move"
"""What is kept: as it was before any lease joined, and as it was before the last move."""


class Rescue:
    """Keeps what is needed to go back by force, and goes."""

    def __init__(self, runner: Commands, lvm: Lvm, directory: Path) -> None:
        self._runner = runner
        self._lvm = lvm
        self._dm = Dmsetup(runner)
        self._directory = directory

    def keep(self, volume: str, state: LvmState, when: str) -> None:
        """Keep the metadata and the table of this moment."""
        vg, lv = split_volume(volume)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lvm.vgcfgbackup(vg, self._file(volume, when, "vg"))
        self._file(volume, when, "table").write_text(f"{self._dm.table(dm_name(vg, lv))}\n")
        self._file(volume, when, "volumes").write_text("\n".join(_others(state, volume)))

    def undo_move(self, volume: str, state: LvmState, dead: Collection[str]) -> None:
        """Give up a move whose destination died: the volume is where it came from, the dead leases are in no group."""
        vg, lv = split_volume(volume)
        _spare_others(volume, state)
        self._check_unchanged(volume, state, BEFORE_MOVE)
        name = dm_name(vg, lv)
        self._dm.suspend(name, flush=False)
        try:
            self._dm.load(name, self._file(volume, BEFORE_MOVE, "table").read_text())
        finally:
            self._dm.resume(name)
        self._remove_moves(volume, state)
        kept = self._file(volume, BEFORE_MOVE, "vg")
        kept.write_text(without_pvs(kept.read_text(), {pv_tag(lease) for lease in dead}))
        self._lvm.vgcfgrestore(vg, kept)

    def write_off(self, volume: str, state: LvmState) -> None:
        """Empty the volume's swap, put it back on the local disk without any lease, and swap to it again.

        Raises `RamshareError` while that is impossible: too little memory for what is swapped out, or a guest that has
        the volume open; to be tried again later.
        """
        vg, lv = split_volume(volume)
        _spare_others(volume, state)
        self._check_unchanged(volume, state, HOME)
        device, name = f"/dev/{volume}", dm_name(vg, lv)
        active, claim = swap.active_swap(device), swap.claim_on(device)
        if active is not None:
            need, have = active.used_bytes + swap.MARGIN_BYTES, read_memory().available_bytes
            if need > have:
                raise RamshareError(
                    f"{need >> 20} MiB must fit into memory before {volume} can be rebuilt, {have >> 20} are available",
                    "end the process that fills it",
                )
            swap.turn_off(self._runner, device)
        if any(found.name == name and found.open_count for found in self._dm.devices()):
            raise RamshareError(f"{volume} has lost pages and is in use, by a guest perhaps", "shut the guest down")
        self._dm.remove(name)
        self._remove_legs(volume)
        # A boot activates the placeholder too; the metadata that comes back does not know it.
        self._dm.remove(dm_name(vg, lv + HOME_SUFFIX))
        self._remove_moves(volume, state)
        self._lvm.vgcfgrestore(vg, self._file(volume, HOME, "vg"))
        self._lvm.activate(volume)
        swap.format_and_turn_on(self._runner, device, active, claim)

    def _remove_moves(self, volume: str, state: LvmState) -> None:
        """Remove what pvmove put under the volume: the mirror first, then its legs. Another volume's moves stay."""
        vg, _ = split_volume(volume)
        lv = state.lv(volume)
        moves = {dm_name(vg, move.name) for move in (lv.moves if lv is not None else ())}
        devices = [device.name for device in self._dm.devices() if device.name.split("_mimage_")[0] in moves]
        for device in sorted(devices, key=len):
            self._dm.remove(device)

    def _remove_legs(self, volume: str) -> None:
        """Remove what is below a raid1 volume that is gone: its legs, then what stands in for their missing disks."""
        vg, lv = split_volume(volume)
        names = [device.name for device in self._dm.devices()]
        for name in sorted((x for x in names if x != dm_name(vg, lv) and is_device_of(x, vg, lv)), key=len):
            self._dm.remove(name)

    def _check_unchanged(self, volume: str, state: LvmState, when: str) -> None:
        """Going back to old metadata would undo what somebody else changed meanwhile: refuse then."""
        vg, _ = split_volume(volume)
        kept = self._file(volume, when, "volumes")
        if not kept.exists():
            raise RamshareError(f"nothing is kept of {volume} as it was before", f"vgcfgrestore --list {vg}")
        if _others(state, volume) != kept.read_text().split():
            raise RamshareError(
                f"other volumes of {vg} changed while {volume} was attached, so its old metadata must not come back",
                f"see {kept.with_suffix('.vg')} and vgcfgrestore(8)",
            )

    def _file(self, volume: str, when: str, kind: str) -> Path:
        """Named as the device mapper names the volume: no two volumes share a name there."""
        return self._directory / f"{dm_name(*split_volume(volume))}.{when}.{kind}"


def without_pvs(metadata: str, tags: Collection[str]) -> str:
    """Return LVM's text metadata without the physical volumes that carry one of `tags`; nothing may lie on them."""
    kept: list[str] = []
    block: list[str] | None = None
    for line in metadata.splitlines():
        words = line.split()
        if block is None and len(words) == 2 and words[0].startswith("pv") and words[1] == "{":
            block = []
        if block is None:
            kept.append(line)
            continue
        block.append(line)
        if words == ["}"]:
            if not any(f'"{tag}"' in part for tag in tags for part in block):
                kept += block
            block = None
    return "\n".join(kept) + "\n"


def _others(state: LvmState, volume: str) -> list[str]:
    """Say of the group's volumes what going back would undo: sizes, and where others lie. Placeholders do not count.

    Disks are told by their UUIDs: a boot may give them other names.
    """
    vg, _ = split_volume(volume)
    disks = {pv.name: pv.uuid or pv.name for pv in state.disks_of(vg) if not pv.missing}
    found = []
    for lv in state.lvs:
        if lv.vg == vg and not lv.name.endswith(HOME_SUFFIX):
            lies_on = sorted(disks.get(name, name) for name in lv.pvs)
            place = "" if lv.full_name == volume else f":{lv.segtype}:{'+'.join(lies_on)}"
            found.append(f"{lv.name}:{lv.size_bytes}{place}")
    return sorted(found)


class LostLeases:
    """Goes by the report that the step was planned from; afterwards these leases are marked as lost."""

    def __init__(self, lvm: Lvm, tags: VolumeTags, dm: Dmsetup, iscsi: LeaseSessions, rescue: Rescue) -> None:
        self._lvm = lvm
        self._tags = tags
        self._dm = dm
        self._iscsi = iscsi
        self._rescue = rescue

    def drop_leg(self, view: VolumeView, state: LvmState, leases: Sequence[str]) -> None:
        """Clean up in the order that LVM accepts, then mark the leases as lost so that nobody logs in to them again."""
        lv = state.existing(view.volume)
        failed = [leg for leg in view.legs if leg.failed]
        good = [leg for leg in view.legs if not leg.failed]
        if any(pv.missing for pv in state.pvs if pv.vg == view.vg):
            _spare_others(view.volume, state)
            if lv.is_mirror:
                self._cut_off_rest_of_leg(view)
            self._lvm.drop_missing(view.vg)
            if lv.is_mirror and (failed or not good):
                self._lvm.forget_leg(view.volume, max(1, len(good)))
        elif lv.is_mirror:
            devices = sorted({device for leg in failed for device in leg.devices})
            self._lvm.split_leg(view.volume, devices, max(1, len(good)), failed=True)
        self._remove_stubs(view.volume)
        self._tags.mark_lost(lv, leases)
        for lease in view.leases:
            pv = state.pv(lease.device) if lease.lease in leases and lease.device is not None else None
            if pv is not None and pv.vg == view.vg and not pv.missing:
                self._lvm.reduce_vg(view.vg, pv.name)

    def _cut_off_rest_of_leg(self, view: VolumeView) -> None:
        """Cut the leg's other leases off as well; they are logged in to again and used for the next leg.

        LVM puts error targets where the leg's disks are missing. If the leg's metadata still can be read, dm-raid then
        takes it for a new device and refuses the table ("New device injected into existing raid set", Linux 6.1).
        """
        of_it = {lease for leg in view.legs if leg.failed for lease in leg.leases}
        for lease in view.leases:
            if lease.lease in of_it and lease.device is not None and not lease.lost:
                self._iscsi.cut_off(lease.lease)

    def undo_move(self, volume: str, state: LvmState, leases: Sequence[str]) -> None:
        """Give up a move to these leases: the volume is where it came from."""
        self._iscsi.cut_off_dead(leases)
        self._rescue.undo_move(volume, state, leases)
        self._tags.mark_lost(state.existing(volume), leases)

    def write_off(self, volume: str, state: LvmState, leases: Sequence[str]) -> None:
        """Give up the pages on these leases; raises `RamshareError` while that is impossible, see `Rescue`."""
        self._iscsi.give_up(leases)
        self._rescue.write_off(volume, state)
        self._tags.mark_lost(state.existing(volume), leases)

    def _remove_stubs(self, volume: str) -> None:
        """Remove the error devices that LVM puts in place of missing disks when it activates a mirror, and forgets."""
        vg, lv = split_volume(volume)
        for device in self._dm.devices():
            if is_stub_of(device.name, vg, lv) and not device.open_count:
                self._dm.remove(device.name)


def _spare_others(volume: str, state: LvmState) -> None:
    """Raise if forgetting missing devices, or old metadata, would cost anybody else a volume. The plan asks before."""
    at_stake = waits_for(state, volume)
    if at_stake:
        raise RamshareError(at_stake)
