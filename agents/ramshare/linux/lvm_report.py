"""One process start for all that LVM knows: the argv of the report and the parser of its JSON.

One `lvm fullreport` answers everything, because each LVM process scans every disk and may take a second while the host
swaps. This module asks for explicit columns and turns the JSON into the values of `lvm_state.py`; `lvm.py` runs it.
"""

import json
from collections.abc import Mapping

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

_COLUMNS = {
    "vg": "vg_name,vg_size,vg_free,vg_extent_size,vg_missing_pv_count,vg_tags",
    "pv": "pv_name,pv_uuid,vg_name,pv_size,pv_free,pv_missing,pv_tags",
    "lv": "vg_name,lv_name,lv_size,lv_tags,lv_layout,lv_parent,lv_active,lv_suspended,lv_device_open,move_pv,"
    "copy_percent,sync_percent,raid_sync_action,raid_write_behind,lv_health_status",
    "seg": "lv_name,segtype,seg_start,seg_size,region_size,devices",
}

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


def parse_report(text: str) -> LvmState:
    """Turn the JSON of `report_argv` into values. Raises `LvmReportError` if it is not that."""
    try:
        reports = json.loads(text)["report"]
        pvs: list[PhysicalVolume] = []
        vgs: list[VolumeGroup] = []
        lvs: list[LogicalVolume] = []
        debris: list[str] = []
        for report in reports:
            pvs += [_pv(row) for row in report.get("pv", [])]
            vgs += [_vg(row) for row in report.get("vg", [])]
            group = _Group(report.get("lv", []), report.get("seg", []))
            lvs += group.volumes()
            debris += group.debris()
    except (KeyError, TypeError, ValueError) as error:
        raise LvmReportError(f"unreadable LVM report: {error!r}") from error
    return LvmState(tuple(pvs), tuple(vgs), tuple(lvs), tuple(debris))


class _Group:
    """The logical volumes and segments of one volume group, while they are being put together."""

    def __init__(self, lv_rows: list[Row], seg_rows: list[Row]) -> None:
        self._lvs = {_plain(row["lv_name"]): row for row in lv_rows}
        self._hidden = {_plain(row["lv_name"]) for row in lv_rows if row["lv_name"].startswith("[")}
        self._segs: dict[str, list[Row]] = {}
        for row in seg_rows:
            self._segs.setdefault(_plain(row["lv_name"]), []).append(row)
        for rows in self._segs.values():
            rows.sort(key=lambda row: int(row.get("seg_start") or 0))

    def debris(self) -> list[str]:
        return [f"{row['vg_name']}/{name}" for name, row in self._lvs.items() if self._is_debris(name)]

    def volumes(self) -> list[LogicalVolume]:
        return [self._volume(name) for name in self._lvs if name not in self._hidden and not self._is_debris(name)]

    def _is_debris(self, name: str) -> bool:
        base, _, kind = name.rpartition("_r")
        kind, _, number = kind.partition("_")
        orphan = name not in self._hidden and not self._lvs[name]["lv_active"]
        return orphan and base in self._lvs and kind in ("image", "meta") and number.isdigit()

    def _volume(self, name: str) -> LogicalVolume:
        row, segs = self._lvs[name], self._segs.get(name, [])
        segtype = segs[0]["segtype"] if segs else "linear"
        legs = self._legs(name, segs[0]) if segtype == "raid1" else ()
        plain = () if legs else self._segments(name)
        return LogicalVolume(
            vg=row["vg_name"],
            name=name,
            size_bytes=int(row["lv_size"]),
            tags=_tags(row["lv_tags"]),
            layout=row["lv_layout"],
            segtype=segtype,
            segments=plain,
            legs=legs,
            active=row["lv_active"] == "active",
            suspended=row["lv_suspended"] == "suspended",
            open=row["lv_device_open"] == "open",
            moves=self._moves(name),
            sync_percent=_percent(row["sync_percent"]) if segtype == "raid1" else None,
            sync_action=row["raid_sync_action"],
            health=row["lv_health_status"],
            write_behind=int(row["raid_write_behind"] or 0),
            region_bytes=int(segs[0]["region_size"] or 0) if segs else 0,
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
                found.append(self._bottom(device, int(seg["seg_size"])))
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
                    destinations.append(Segment(image, int(seg["seg_size"])))
                elif image not in seen:
                    destinations += self._segments(image)
                    seen.add(image)
        return Move(name, row["move_pv"], tuple(destinations), _percent(row["copy_percent"]))


def _pv(row: Row) -> PhysicalVolume:
    return PhysicalVolume(
        name=row["pv_name"],
        vg=row["vg_name"],
        size_bytes=int(row["pv_size"]),
        free_bytes=int(row["pv_free"]),
        tags=_tags(row["pv_tags"]),
        missing=bool(row["pv_missing"]),
        uuid=row.get("pv_uuid", ""),
    )


def _vg(row: Row) -> VolumeGroup:
    return VolumeGroup(
        name=row["vg_name"],
        size_bytes=int(row["vg_size"]),
        free_bytes=int(row["vg_free"]),
        extent_bytes=int(row["vg_extent_size"]),
        missing_pvs=int(row["vg_missing_pv_count"]),
        tags=_tags(row["vg_tags"]),
    )


def _tags(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split(",")))


def _percent(text: str) -> float | None:
    return float(text) if text else None


def _plain(name: str) -> str:
    """Strip the brackets that LVM puts around internal volumes (but not around `[unknown]` physical ones)."""
    return name[1:-1] if name.startswith("[") and name != UNKNOWN_PV else name


def _devices(seg: Row) -> list[tuple[str, int]]:
    """Split `a(0),b(16)` into names and first extents."""
    found = []
    for part in filter(None, seg["devices"].split(",")):
        name, _, extent = part.rpartition("(")
        found.append((_plain(name), int(extent.rstrip(")"))))
    return found
