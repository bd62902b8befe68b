"""What a running tgtd says about its targets and portals: the parser of `tgtadm --op show`.

The text has fixed indents of four spaces per level and is all that tgtd offers. `tgt.py` runs the command.
"""

from dataclasses import dataclass, field

from ramshare.errors import RamshareError
from ramshare.linux.portal import Portal, PortalError
from ramshare.linux.target import LunInfo, TargetInfo, TargetSession


class TgtShowError(RamshareError):
    """tgtadm printed something that is not its list of targets, or of portals."""


@dataclass
class _Draft:
    tid: int
    iqn: str
    state: str = ""
    section: str = ""
    luns: list[dict[str, str]] = field(default_factory=list)
    sessions: list[dict[str, str]] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)

    def finished(self) -> TargetInfo:
        return TargetInfo(
            tid=self.tid,
            iqn=self.iqn,
            state=self.state,
            luns=tuple(
                LunInfo(
                    lun=int(lun["LUN"]),
                    path=lun["Backing store path"],
                    serial=lun.get("SCSI SN", ""),
                    online=lun.get("Online") == "Yes",
                    scsi_id=lun.get("SCSI ID", ""),
                )
                for lun in self.luns
                if lun.get("Type") != "controller"
            ),
            initiators=tuple(self.names.get("ACL information", [])),
            sessions=tuple(
                TargetSession(
                    sid=int(nexus["I_T nexus"]),
                    initiator=nexus.get("Initiator", "").partition(" alias:")[0],
                    address=nexus.get("IP Address", ""),
                    cid=int(nexus.get("Connection", "0")),
                )
                for nexus in self.sessions
            ),
            # tgtd marks the one by which the target proves itself.
            accounts=tuple(name.removesuffix(" (outgoing)") for name in self.names.get("Account information", [])),
        )


def parse_targets(text: str) -> list[TargetInfo]:
    """Return the targets that `text` lists. Raises `TgtShowError` for anything else."""
    drafts: list[_Draft] = []
    try:
        for line in filter(str.strip, text.splitlines()):
            _read_line(line, drafts)
        return [draft.finished() for draft in drafts]
    except (KeyError, ValueError, IndexError) as error:
        raise TgtShowError(f"unreadable list of targets: {error!r}") from error


def parse_portals(text: str) -> frozenset[Portal]:
    """Return where tgtd listens, from lines like `Portal: [::]:3260,1`. Raises `TgtShowError` for anything else."""
    found = set()
    for line in filter(str.strip, text.splitlines()):
        key, _, value = line.strip().partition(": ")
        if key != "Portal":
            raise TgtShowError(f"unreadable list of portals: {line!r}")
        try:
            found.add(Portal.parse(value.partition(",")[0]))
        except PortalError as error:
            raise TgtShowError(f"unreadable list of portals: {error}") from error
    return frozenset(found)


def _read_line(line: str, drafts: list[_Draft]) -> None:
    depth = (len(line) - len(line.lstrip(" "))) // 4
    key, _, value = (part.strip() for part in line.partition(": "))
    key = key.rstrip(":")
    if depth == 0:
        drafts.append(_Draft(tid=int(key.removeprefix("Target ")), iqn=value))
        return
    draft = drafts[-1]
    if depth == 1:
        draft.section = key
    elif depth == 2 and draft.section == "System information":
        draft.state = value if key == "State" else draft.state
    elif draft.section == "LUN information":
        _collect(draft.luns, depth, key, value)
    elif draft.section == "I_T nexus information":
        _collect(draft.sessions, depth, key, value)
    else:
        draft.names.setdefault(draft.section, []).append(line.strip())


def _collect(items: list[dict[str, str]], depth: int, key: str, value: str) -> None:
    if depth == 2:
        items.append({key: value})
    else:
        items[-1][key] = value
