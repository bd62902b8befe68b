"""The logical volumes of one volume group, put together from its rows in LVM's report.

LVM shows hidden volumes (legs, pools, caches, pvmove's) between a volume and its disks: here every device below a
volume counts, whatever lies between.
"""

from collections.abc import Sequence

from ramshare.linux.lvm_fields import Row, devices, number, percent, plain, says, tags
from ramshare.linux.lvm_state import Leg, LogicalVolume, Move, Segment

_INACTIVE = ("", "0")


class Group:
    """Raises `KeyError` or `ValueError` for rows that do not fit together."""

    def __init__(self, lv_rows: Sequence[Row], seg_rows: Sequence[Row]) -> None:
        self._lvs = {plain(row["lv_name"]): row for row in lv_rows}
        self._hidden = {plain(row["lv_name"]) for row in lv_rows if row["lv_name"].startswith("[")}
        self._segs: dict[str, list[Row]] = {}
        for row in seg_rows:
            self._segs.setdefault(plain(row["lv_name"]), []).append(row)
        for rows in self._segs.values():
            rows.sort(key=lambda row: number(row["seg_start"]))

    def debris(self) -> list[str]:
        """Return the inactive leg or metadata volumes that an interrupted conversion left behind."""
        return [f"{row['vg_name']}/{name}" for name, row in self._lvs.items() if self._is_debris(name)]

    def volumes(self) -> list[LogicalVolume]:
        """Return the visible volumes, each with all that lies below it."""
        return [self._volume(name) for name in self._lvs if name not in self._hidden and not self._is_debris(name)]

    def loose(self) -> list[LogicalVolume]:
        """Return the hidden volumes that are part of no visible one, for instance a spare for thin pools."""
        visible = self._lvs.keys() - self._hidden
        used = {inner for name in visible for inner in self._below(name)}
        return [self._volume(name) for name in self._lvs if name in self._hidden - used]

    def _is_debris(self, name: str) -> bool:
        base, _, kind = name.rpartition("_r")
        kind, _, index = kind.partition("_")
        orphan = name not in self._hidden and self._lvs[name]["lv_active"] in _INACTIVE
        return orphan and base in self._lvs and kind in ("image", "meta") and index.isdigit()

    def _volume(self, name: str) -> LogicalVolume:
        row, segs = self._lvs[name], self._segs.get(name, [])
        segtype = next((seg["segtype"] for seg in segs if seg["segtype"] != "linear"), "linear")
        is_raid1 = segtype == "raid1" and len(segs) == 1
        return LogicalVolume(
            vg=row["vg_name"],
            name=name,
            size_bytes=number(row["lv_size"]),
            tags=tags(row["lv_tags"]),
            layout=row["lv_layout"],
            segtype=segtype,
            segments=() if is_raid1 else self._places(name),
            legs=self._legs(segs[0]) if is_raid1 else (),
            active=says(row["lv_active"], "active"),
            inactive=row["lv_active"] in _INACTIVE,
            suspended=says(row["lv_suspended"], "suspended"),
            open=says(row["lv_device_open"], "open"),
            snapshots=self._snapshots(name),
            origin="" if row["origin"].startswith("[") else row["origin"],
            pool=plain(row["pool_lv"]),
            moves=self._moves(name),
            sync_percent=percent(row["sync_percent"]) if is_raid1 else None,
            sync_action=row["raid_sync_action"],
            health=self._health(name),
            write_behind=number(row["raid_write_behind"]),
            region_bytes=number(segs[0]["region_size"]) if segs else 0,
        )

    def _snapshots(self, name: str) -> tuple[str, ...]:
        """Thin snapshots do not count: they share their pool, not their origin's writes."""
        rows = [row for row in self._lvs.values() if row["origin"] == name and not row["pool_lv"]]
        found = tuple(plain(row["lv_name"]) for row in rows)
        attr = self._lvs[name]["lv_attr"]
        return found or (("of unknown name",) if attr.startswith(("o", "O")) else ())

    def _health(self, name: str) -> str:
        """LVM marks what lies on a missing device, but not everything that depends on it."""
        own = self._lvs[name]["lv_health_status"]
        below = {self._lvs[inner]["lv_health_status"] for inner in self._below(name)}
        attr = self._lvs[name]["lv_attr"]
        return own or ("partial" if "partial" in below or attr[8:9] == "p" else "")

    def _below(self, name: str) -> set[str]:
        """Return the volumes that `name` is made of or depends on, at any depth."""
        found: set[str] = set()
        todo = [name]
        while todo:
            at = todo.pop()
            new = (self._in_segments(at) | self._beside(at) | {plain(self._lvs[at]["pool_lv"])}) - found
            new &= self._lvs.keys() - {name}
            found |= new
            todo += new
        return found

    def _in_segments(self, name: str) -> set[str]:
        return {device for seg in self._segs.get(name, []) for device, _ in devices(seg)}

    def _beside(self, name: str) -> set[str]:
        """Return hidden parts that stand in no segment of `name`: a pool's metadata, a log, check sums, a cache."""
        parts = {part for part, row in self._lvs.items() if plain(row["lv_parent"]) == name}
        parts |= {f"{name}_imeta", plain(self._lvs[name]["pool_lv"])} & self._hidden
        return parts - self._in_segments(name)

    def _legs(self, seg: Row) -> tuple[Leg, ...]:
        legs = []
        for index, (image, _) in enumerate(devices(seg)):
            health = self._lvs[image]["lv_health_status"]
            meta = image.replace("_rimage_", "_rmeta_")
            writemostly = health == "writemostly"
            metadata = self._places(meta) if meta in self._lvs else ()
            in_sync = not self._lvs[image]["lv_attr"].startswith("I")
            legs.append(Leg(index, self._places(image), metadata, writemostly, "" if writemostly else health, in_sync))
        return tuple(legs)

    def _places(self, name: str) -> tuple[Segment, ...]:
        """Follow internal volumes down to physical ones; of a pvmove's mirror only the source counts here."""
        found: list[Segment] = []
        for seg in self._segs.get(name, []):
            below = [device for device, _ in devices(seg)]
            for device in below:
                found += self._bottom(device, number(seg["seg_size"]) // len(below))
        for part in sorted(self._beside(name)):
            if not self._lvs[part]["move_pv"]:
                found += self._places(part)
        return tuple(found)

    def _bottom(self, device: str, size_bytes: int) -> tuple[Segment, ...]:
        if device not in self._lvs:
            return (Segment(device, size_bytes),)
        if move_pv := self._lvs[device]["move_pv"]:
            return (Segment(move_pv, size_bytes),)
        return self._places(device)

    def _moves(self, name: str) -> tuple[Move, ...]:
        """Find the pvmove volumes under `name`, or under its legs."""
        moves: dict[str, Move] = {}
        todo = [name]
        while todo:
            for device in [device for seg in self._segs.get(todo.pop(), []) for device, _ in devices(seg)]:
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
            for image, _ in devices(seg)[1:]:
                if image not in self._lvs:
                    destinations.append(Segment(image, number(seg["seg_size"])))
                elif image not in seen:
                    destinations += self._places(image)
                    seen.add(image)
        return Move(name, row["move_pv"], tuple(destinations), percent(row["copy_percent"]))
