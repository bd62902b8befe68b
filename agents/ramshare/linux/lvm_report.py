"""One process start for all that LVM knows: the argv of the report and the parser of its JSON.

One `lvm fullreport` answers everything, because each LVM process scans every disk and may take a second while the host
swaps. This module asks for explicit columns and turns the JSON into the values of `lvm_state.py`; `lvm.py` runs it.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ramshare.errors import RamshareError
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
from ramshare.linux.run import in_one_line

_COLUMNS = {
    "vg": "vg_name,vg_size,vg_free,vg_extent_size,vg_missing_pv_count,vg_tags",
    "pv": "pv_name,pv_uuid,vg_name,pv_size,pv_free,pv_missing,pv_tags",
    "lv": "vg_name,lv_name,lv_size,lv_tags,lv_layout,lv_parent,lv_active,lv_suspended,lv_device_open,move_pv,"
    "copy_percent,sync_percent,raid_sync_action,raid_write_behind,lv_health_status",
    "seg": "lv_name,segtype,seg_start,seg_size,region_size,devices",
}

_JSON_LINE = re.compile(r'\s*(?:[][{}]|"\w+": ?\[|\{".*"\})?,?\s*')
"""How LVM prints its JSON: a bracket, a key or a whole row on each line."""
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_+.\-/=!:&#]+")
"""What may stand between tags: any character that LVM does not allow in one."""
_DEVICE = re.compile(r"[,;| ]*(.+?)\((\d+)\)")
"""A device with its first extent, in a list of them."""

Row = Mapping[str, str]


class LvmReportError(RamshareError):
    """LVM printed something that is not the report that was asked for."""


def report_argv(vg: str | None = None) -> list[str]:
    """Return the command whose output `parse_report` reads. Sizes are bytes; physical segments are filtered out."""
    argv = ["lvm", "fullreport", "--all", "--reportformat", "json", "--units", "b", "--nosuffix"]
    for kind, columns in _COLUMNS.items():
        argv += ["--configreport", kind, "-o", columns]
    argv += ["--configreport", "pvseg", "-o", "pvseg_start", "-S", "pvseg_start=4294967295"]
    return [*argv, vg] if vg else argv


def parse_report(text: str, complaints: str = "") -> LvmState:
    """Turn the JSON of `report_argv`, and what LVM said besides, into values.

    A group that cannot be made sense of is left out and complained about: it may be anybody's. Raises
    `LvmReportError` if there is no report, or if nothing in it makes sense.
    """
    try:
        reports = _json(text)["report"]
    except (KeyError, TypeError, ValueError) as error:
        raise LvmReportError(f"unreadable LVM report: {error!r}{_besides(complaints)}") from error
    found: list[LvmState] = []
    unreadable: list[str] = []
    for report in reports if isinstance(reports, list) else [reports]:
        try:
            found.append(_one_report(report))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            unreadable.append(f"unreadable report of {_name_of(report)}: {error!r}")
    if unreadable and not found:
        raise LvmReportError(f"unreadable LVM report: {unreadable[0]}{_besides(complaints)}")
    return LvmState(
        tuple(pv for state in found for pv in state.pvs),
        tuple(vg for state in found for vg in state.vgs),
        tuple(lv for state in found for lv in state.lvs),
        tuple(name for state in found for name in state.debris),
        "; ".join(filter(None, [*unreadable, in_one_line(complaints)])),
    )


def _json(text: str) -> Any:
    """Read a report as LVM prints it.

    It prints messages between the report's lines, each on a line of its own, and does not escape backslashes.
    """
    try:
        return json.loads(text)
    except ValueError:
        own = "\n".join(line for line in text.splitlines() if _JSON_LINE.fullmatch(line))
        return json.loads(re.sub(r'\\(?!")', r"\\\\", own))


def _one_report(report: Mapping[str, list[Row]]) -> LvmState:
    """Return what one group's part of the report says, or that of the devices which are in no group.

    A column that is not there has no value (LVM leaves such out if it was told to print compactly).
    """
    rows = {kind: [defaultdict(str, row) for row in report.get(kind, [])] for kind in _COLUMNS}
    vg = rows["vg"][0]["vg_name"] if rows["vg"] else ""
    for row in rows["lv"]:
        row["vg_name"] = row["vg_name"] or vg
        if not (row["vg_name"] and row["lv_name"]):
            raise ValueError("a volume without a name")
    group = _Group(rows["lv"], rows["seg"])
    return LvmState(
        tuple(_pv(row) for row in rows["pv"]),
        tuple(_vg(row) for row in rows["vg"]),
        tuple(group.volumes()),
        tuple(group.debris()),
    )


def _name_of(report: object) -> str:
    """Return which group a report is about, for a message."""
    try:
        return f"volume group {report['vg'][0]['vg_name']}"  # type: ignore[index]
    except (KeyError, TypeError, IndexError):
        return "a volume group"


def _besides(complaints: str) -> str:
    return f"; LVM says: {in_one_line(complaints)}" if complaints.strip() else ""


class _Group:
    """The logical volumes and segments of one volume group, while they are being put together."""

    def __init__(self, lv_rows: Sequence[Row], seg_rows: Sequence[Row]) -> None:
        self._lvs = {_plain(row["lv_name"]): row for row in lv_rows}
        self._hidden = {_plain(row["lv_name"]) for row in lv_rows if row["lv_name"].startswith("[")}
        self._segs: dict[str, list[Row]] = {}
        for row in seg_rows:
            self._segs.setdefault(_plain(row["lv_name"]), []).append(row)
        for rows in self._segs.values():
            rows.sort(key=lambda row: _number(row["seg_start"]))

    def debris(self) -> list[str]:
        return [f"{row['vg_name']}/{name}" for name, row in self._lvs.items() if self._is_debris(name)]

    def volumes(self) -> list[LogicalVolume]:
        return [self._volume(name) for name in self._lvs if name not in self._hidden and not self._is_debris(name)]

    def _is_debris(self, name: str) -> bool:
        base, _, kind = name.rpartition("_r")
        kind, _, number = kind.partition("_")
        orphan = name not in self._hidden and self._lvs[name]["lv_active"] in ("", "0")
        return orphan and base in self._lvs and kind in ("image", "meta") and number.isdigit()

    def _volume(self, name: str) -> LogicalVolume:
        row, segs = self._lvs[name], self._segs.get(name, [])
        segtype = segs[0]["segtype"] if segs else "linear"
        legs = self._legs(name, segs[0]) if segtype == "raid1" else ()
        plain = () if legs else self._segments(name)
        return LogicalVolume(
            vg=row["vg_name"],
            name=name,
            size_bytes=_number(row["lv_size"]),
            tags=_tags(row["lv_tags"]),
            layout=row["lv_layout"],
            segtype=segtype,
            segments=plain,
            legs=legs,
            active=_is(row["lv_active"], "active"),
            suspended=_is(row["lv_suspended"], "suspended"),
            open=_is(row["lv_device_open"], "open"),
            moves=self._moves(name),
            sync_percent=_percent(row["sync_percent"]) if segtype == "raid1" else None,
            sync_action=row["raid_sync_action"],
            health=row["lv_health_status"],
            write_behind=_number(row["raid_write_behind"]),
            region_bytes=_number(segs[0]["region_size"]) if segs else 0,
        )

    def _legs(self, name: str, seg: Row) -> tuple[Leg, ...]:
        legs = []
        for index, (image, _) in enumerate(_devices(seg)):
            health = self._lvs[image]["lv_health_status"]
            meta = image.replace("_rimage_", "_rmeta_")
            writemostly = health == "writemostly"
            metadata = self._segments(meta) if meta in self._lvs else ()
            legs.append(Leg(index, self._segments(image), metadata, writemostly, "" if writemostly else health))
        return tuple(legs)

    def _segments(self, name: str) -> tuple[Segment, ...]:
        """Follow internal volumes down to physical ones; of a pvmove's mirror only the source counts here."""
        found: list[Segment] = []
        for seg in self._segs.get(name, []):
            for device, _ in _devices(seg)[:1]:
                found.append(self._bottom(device, _number(seg["seg_size"])))
        return tuple(found)

    def _bottom(self, device: str, size_bytes: int) -> Segment:
        while device in self._lvs:
            if move_pv := self._lvs[device]["move_pv"]:
                return Segment(move_pv, size_bytes)
            below = [inner for seg in self._segs.get(device, []) for inner, _ in _devices(seg)]
            if not below:
                break
            device = below[0]
        return Segment(device, size_bytes)

    def _moves(self, name: str) -> tuple[Move, ...]:
        """Find the pvmove volumes under `name`, or under its legs."""
        moves: dict[str, Move] = {}
        todo = [name]
        while todo:
            for device in [device for seg in self._segs.get(todo.pop(), []) for device, _ in _devices(seg)]:
                row = self._lvs.get(device)
                if row is None:
                    continue
                if row["move_pv"]:
                    moves[device] = self._move(device, row)
                else:
                    todo.append(device)
        return tuple(moves.values())

    def _move(self, name: str, row: Row) -> Move:
        destinations: list[Segment] = []
        seen: set[str] = set()
        for seg in self._segs.get(name, []):
            for image, _ in _devices(seg)[1:]:
                if image not in self._lvs:
                    destinations.append(Segment(image, _number(seg["seg_size"])))
                elif image not in seen:
                    destinations += self._segments(image)
                    seen.add(image)
        return Move(name, row["move_pv"], tuple(destinations), _percent(row["copy_percent"]))


def _pv(row: Row) -> PhysicalVolume:
    return PhysicalVolume(
        name=_plain(row["pv_name"]),
        vg=row["vg_name"],
        size_bytes=_number(row["pv_size"]),
        free_bytes=_number(row["pv_free"]),
        tags=_tags(row["pv_tags"]),
        missing=_is(row["pv_missing"], "missing"),
        uuid=row["pv_uuid"],
    )


def _vg(row: Row) -> VolumeGroup:
    return VolumeGroup(
        name=row["vg_name"],
        size_bytes=_number(row["vg_size"]),
        free_bytes=_number(row["vg_free"]),
        extent_bytes=_number(row["vg_extent_size"]),
        missing_pvs=_number(row["vg_missing_pv_count"]),
        tags=_tags(row["vg_tags"]),
    )


def _tags(text: str) -> frozenset[str]:
    return frozenset(filter(None, _NOT_IN_TAGS.split(text)))


def _is(value: str, word: str) -> bool:
    """Whether a yes-or-no column says yes: by its word, or by 1 (`report/binary_values_as_numeric`)."""
    return value in (word, "1")


def _number(text: str) -> int:
    """Return a size in bytes or a count; none where LVM has none to tell."""
    return int(text or 0)


def _percent(text: str) -> float | None:
    return float(text) if text else None


def _plain(name: str) -> str:
    """Strip the brackets that LVM puts around internal volumes (but not around `[unknown]` physical ones)."""
    if name in _UNKNOWN_NAMES:
        return UNKNOWN_PV
    return name[1:-1] if name.startswith("[") else name


_UNKNOWN_NAMES = (UNKNOWN_PV, "unknown device")


def _devices(seg: Row) -> list[tuple[str, int]]:
    """Split `a(0),b(16)` into names and first extents."""
    return [(_plain(name), int(extent)) for name, extent in _DEVICE.findall(seg["devices"])]
