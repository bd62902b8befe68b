"""One process start for all that LVM knows: the argv of the report and the parser of its JSON.

One `lvm fullreport` answers everything, because each LVM process scans every disk and may take a second while the host
swaps. This module asks for explicit columns and turns the JSON into the values of `lvm_state.py`; `lvm.py` runs it.
"""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from ramshare.errors import RamshareError
from ramshare.linux.lvm_fields import Row, number, plain, says, tags
from ramshare.linux.lvm_group import Group
from ramshare.linux.lvm_state import LvmState, PhysicalVolume, VolumeGroup
from ramshare.linux.run import in_one_line

_COLUMNS = {
    "vg": "vg_name,vg_size,vg_free,vg_extent_size,vg_missing_pv_count,vg_tags,vg_uuid,vg_exported",
    "pv": "pv_name,pv_uuid,vg_name,pv_size,pv_free,pv_missing,pv_tags,pv_allocatable,pv_duplicate",
    "lv": "vg_name,lv_name,lv_size,lv_tags,lv_layout,lv_parent,lv_active,lv_suspended,lv_device_open,move_pv,"
    "copy_percent,sync_percent,raid_sync_action,raid_write_behind,lv_health_status,lv_attr,lv_role,origin,pool_lv",
    "seg": "lv_name,segtype,seg_start,seg_size,region_size,devices",
}

_DOUBLED = re.compile(r"Not using device \S+ for PV ([A-Za-z0-9-]+)")
"""Which physical volumes it sees on several devices LVM says on its standard error only."""
_JSON_LINE = re.compile(r'\s*(?:[][{}]|"\w+": ?\[|\{".*"\})?,?\s*')
"""How LVM prints its JSON: a bracket, a key or a whole row on each line."""


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
    doubled = _DOUBLED.findall(complaints)
    found: list[LvmState] = []
    unreadable: list[str] = []
    for report in reports if isinstance(reports, list) else [reports]:
        try:
            found.append(_one_report(report, doubled))
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
        tuple(lv for state in found for lv in state.loose),
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


def _one_report(report: Mapping[str, list[Row]], doubled: Collection[str]) -> LvmState:
    """Return what one group's part of the report says, or that of the devices which are in no group.

    A column that is not there has no value (LVM leaves such out if it was told to print compactly).
    """
    rows = {kind: [defaultdict(str, row) for row in report.get(kind, [])] for kind in _COLUMNS}
    vg = rows["vg"][0]["vg_name"] if rows["vg"] else ""
    for row in rows["lv"]:
        row["vg_name"] = row["vg_name"] or vg
        if not (row["vg_name"] and row["lv_name"]):
            raise ValueError("a volume without a name")
    group = Group(rows["lv"], rows["seg"])
    return LvmState(
        tuple(_pv(row, doubled) for row in rows["pv"]),
        tuple(_vg(row) for row in rows["vg"]),
        tuple(group.volumes()),
        tuple(group.debris()),
        loose=tuple(group.loose()),
    )


def _name_of(report: object) -> str:
    """Return which group a report is about, for a message."""
    try:
        return f"volume group {report['vg'][0]['vg_name']}"  # type: ignore[index]
    except (KeyError, TypeError, IndexError):
        return "a volume group"


def _besides(complaints: str) -> str:
    return f"; LVM says: {in_one_line(complaints)}" if complaints.strip() else ""


def _pv(row: Row, doubled: Collection[str]) -> PhysicalVolume:
    return PhysicalVolume(
        name=plain(row["pv_name"]),
        vg=row["vg_name"],
        size_bytes=number(row["pv_size"]),
        free_bytes=number(row["pv_free"]),
        tags=tags(row["pv_tags"]),
        missing=says(row["pv_missing"], "missing"),
        uuid=row["pv_uuid"],
        allocatable=says(row.get("pv_allocatable", "1"), "allocatable"),
        duplicate=says(row["pv_duplicate"], "duplicate") or row["pv_uuid"] in doubled,
    )


def _vg(row: Row) -> VolumeGroup:
    return VolumeGroup(
        name=row["vg_name"],
        size_bytes=number(row["vg_size"]),
        free_bytes=number(row["vg_free"]),
        extent_bytes=number(row["vg_extent_size"]),
        missing_pvs=number(row["vg_missing_pv_count"]),
        tags=tags(row["vg_tags"]),
        uuid=row["vg_uuid"],
        exported=says(row["vg_exported"], "exported"),
    )
