"""A kernel's configfs as LIO fills it, on a directory: groups come with their attributes and end without children.

It keeps the rules that `linux/lio.py` must respect, as Debian's kernel 6.1 showed them: a store is configured before it
is named and named before it is exported, a portal needs its address, and nothing ends that something else hangs on.
"""

import shutil
from pathlib import Path

from ramshare.linux.configfs import Configfs, ConfigfsError
from ramshare.linux.lio import GROUP_ATTRIBUTES, INITIATOR_ATTRIBUTES, PARAMETERS

STORE = {
    **dict.fromkeys(("control", "udev_path", "wwn/vpd_unit_serial"), ""),
    "wwn/vendor_id": "LIO-ORG",
    "wwn/product_id": "fileio",
    "wwn/company_id": "0x001405",
    "enable": "0",
    **{f"attrib/{name}": "0" for name in ("emulate_tpu", "is_nonrot", "emulate_write_cache", "block_size")},
}
GROUP = {
    "enable": "0",
    **{f"attrib/{name}": "0" for name in GROUP_ATTRIBUTES},
    **{f"param/{name}": "" for name in PARAMETERS},
}
INITIATOR = {
    "auth/userid": "",
    "auth/password": "",
    "info": "No active iSCSI Session for Initiator Endpoint: x",
    **{f"attrib/{name}": "0" for name in INITIATOR_ATTRIBUTES},
}
SESSION = """InitiatorName: {initiator}
InitiatorAlias: hostb
LIO Session ID: 7   ISID: 0x00 02 3d 03 00 00  TSIH: 7  SessionType: Normal
Session State: TARG_SESS_STATE_LOGGED_IN
---------------------[iSCSI Session Values]-----------------------
CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN
   Address 10.0.0.2 TCP  StatSN: 0x0e000000
"""


class FakeLio(Configfs):
    """What the kernel would hold; `taken` are portals that it cannot have."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        root.mkdir(exist_ok=True)
        self.taken: set[str] = set()
        self.fails_at = ""
        """The attribute or group, by the end of its path, that the kernel refuses."""

    def make(self, group: str) -> None:
        """Make a group with what the kernel puts into it."""
        self._refuse(group)
        if self.exists(group):
            return
        parts = group.split("/")
        if parts[-2:-1] == ["np"] and parts[-1] in self.taken:
            raise ConfigfsError(f"the kernel's target refused to make {group}: Address already in use")
        super().make(group)
        for name, value in self._attributes(parts).items():
            (self.root / group / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / group / name).write_text(value)
        if group == "iscsi":
            (self.root / "core").mkdir(exist_ok=True)
        if len(parts) == 3 and parts[0] == "iscsi":
            for name in ("np", "acls", "lun"):
                (self.root / group / name).mkdir()

    def remove(self, group: str) -> None:
        """End a group; one with children is in use."""
        path = self.root / group
        if not path.is_dir():
            return
        known = {name.partition("/")[0] for name in self._attributes(group.split("/"))}
        for entry in path.iterdir():
            empty = entry.is_dir() and not any(entry.iterdir())
            assert entry.name in known or (entry.name in ("np", "acls", "lun") and empty), f"{entry} is left in {group}"
        assert not any(path in (link.readlink(), link) for link in self.root.rglob("lease")), f"{group} is in use"
        shutil.rmtree(path)

    def write(self, attribute: str, value: str | int) -> None:
        """Set an attribute, in the order that the kernel demands."""
        self._refuse(attribute)
        if "/wwn/" in attribute:
            store = attribute.partition("/wwn/")[0]
            assert self.read(f"{store}/enable") == "1", "a store is configured before it is named"
            assert not [link for link in self.root.rglob("lease") if link.readlink() == self.root / store]
        if attribute.endswith("/enable") and attribute.startswith("core/"):
            assert "fd_dev_name=" in self.read(attribute.replace("/enable", "/control"))
        super().write(attribute, value)
        if attribute.endswith("vpd_unit_serial"):
            (self.root / attribute).write_text(f"T10 VPD Unit Serial Number: {value}")

    def login(self, iqn: str, initiator: str) -> None:
        """Have the initiator logged in."""
        (self.root / f"iscsi/{iqn}/tpgt_1/acls/{initiator}/info").write_text(SESSION.format(initiator=initiator))

    def snapshot(self, group: str = "") -> dict[str, str]:
        """Return every attribute, link and empty group below a group."""
        found = {}
        for path in sorted((self.root / group).rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = f"-> {path.readlink().relative_to(self.root)}"
            else:
                found[name] = path.read_text() if path.is_file() else "group"
        return found

    def _refuse(self, name: str) -> None:
        if self.fails_at and name.endswith(self.fails_at):
            raise ConfigfsError(f"the kernel's target refused {name}: no such luck")

    @staticmethod
    def _attributes(parts: list[str]) -> dict[str, str]:
        if parts[0] == "core" and len(parts) == 3:
            return STORE
        if parts[0] != "iscsi":
            return {}
        if len(parts) == 5 and parts[3] == "acls":
            return INITIATOR
        return GROUP if len(parts) == 3 else {}
