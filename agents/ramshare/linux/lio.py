"""The iSCSI target in the kernel (LIO): per export one target, one unit, one initiator name and one CHAP secret.

There is no daemon that could be killed or swapped out. The kernel keeps everything in memory, so configfs is the truth
about what is exported now. It is written to directly, not by rtslib: that moves the kernel's directory for reservations
whenever it is used, remembers numbers that others (targetcli) may take meanwhile, and saves to `/etc/target` what must
not outlive the memory it names. All that a host's owner has configured in LIO besides is never touched: ours are the
targets that are named as leases are, and the stores named after them.

What may be surprising about the unit: it writes through (`emulate_write_cache` 0). A RAM file has nothing slower below
it that a cache could hide, and an initiator without a cache to flush sends no flushes.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare.linux.configfs import MOUNT_POINT, Configfs, ensure_configfs
from ramshare.linux.disk_identity import NAA_PREFIX, PRODUCT, VENDOR, disk_id
from ramshare.linux.portal import Portal, PortalError, difference, why_not_free
from ramshare.linux.run import Commands
from ramshare.linux.target import Export, LunInfo, TargetBusyError, TargetInfo, TargetSession
from ramshare.messages.names import lease_of

MODULES = ("target_core_mod", "target_core_file", "iscsi_target_mod")

PARAMETERS: Mapping[str, str] = {
    # As with tgtd: a write's data goes along with the command.
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "262144",
    "FirstBurstLength": "262144",
    "MaxBurstLength": "1048576",
    "MaxOutstandingR2T": "8",
    # A session whose connection broke is over: nobody takes it up again, and it would count as somebody logged in.
    "DefaultTime2Retain": "0",
}
GROUP_ATTRIBUTES: Mapping[str, int] = {
    "authentication": 1,
    "generate_node_acls": 0,  # "demo mode": whoever comes
    "cache_dynamic_acls": 0,
    "demo_mode_write_protect": 1,
    "demo_mode_discovery": 0,
    "prod_mode_write_protect": 0,
    "default_cmdsn_depth": 128,  # as many commands as open-iscsi has under way
}
INITIATOR_ATTRIBUTES: Mapping[str, int] = {
    # Notice a borrower that vanished without a logout: its session is closed after about 15 s.
    "nopin_timeout": 5,
    "nopin_response_timeout": 10,
}
LUN = 0
_GROUP = "tpgt_1"
_ALIAS = "lease"
_SESSION = re.compile(r"^InitiatorName: (?P<initiator>\S+).*?LIO Session ID: (?P<sid>\d+)", re.DOTALL)
_ADDRESS = re.compile(r"CID: (?P<cid>\d+).*?Address (?P<address>\S+)", re.DOTALL)


@dataclass(frozen=True)
class _Store:
    """A file that LIO serves, in configfs."""

    name: str
    number: int

    @property
    def parent(self) -> str:
        return f"core/fileio_{self.number}"

    @property
    def group(self) -> str:
        return f"{self.parent}/{self.name}"


class Lio:
    """The kernel's target, as far as one lender uses it."""

    def __init__(
        self,
        runner: Commands,
        portal: Portal,
        *,
        configfs: Configfs | None = None,
        hindrance: Callable[[Portal], str] = why_not_free,
        modules: Path = Path("/sys/module"),
        mount_point: Path = MOUNT_POINT,
    ) -> None:
        """Serve at `portal` only; ours are the targets that are named as leases are."""
        self._runner = runner
        self._portal = portal
        self._configfs = configfs or Configfs(mount_point / "target")
        self._hindrance = hindrance
        self._modules = modules
        self._mount_point = mount_point

    # The kernel

    def start(self) -> None:
        """See `Target.start`: load the modules, and see whether the address can be had."""
        load_lio(self._runner, self._modules, self._mount_point)
        self._configfs.make("iscsi")
        if why := self.misplaced():
            raise PortalError(why)

    def ready(self) -> bool:
        """See `Target.ready`: whether the modules are loaded."""
        return self._configfs.exists("iscsi")

    def misplaced(self) -> str:
        """See `Target.misplaced`. An address where LIO serves somebody else's targets, too, can be shared."""
        ours = {portal for iqn in self._ours() for portal in self._portals(iqn)}
        if ours:
            return difference(self._portal, ours)
        if any(self._portal in self._portals(iqn) for iqn in self._configfs.groups("iscsi")):
            return ""
        return self._hindrance(self._portal)

    # What is true

    def numbers(self) -> set[int]:
        """See `Target.numbers`: those of everybody's stores."""
        return {int(name.rpartition("_")[2]) for name in self._configfs.groups("core") if name.startswith("fileio_")}

    def show(self) -> list[TargetInfo]:
        """See `Target.show`."""
        return [self._info(iqn) for iqn in self._ours()]

    # Exports

    def export(self, export: Export) -> None:
        """See `Target.export`. One that is served like this already stays as it is; another one is made anew."""
        if self._is_served(export):
            return
        self.delete_target(export.iqn, force=True)
        store = _Store(_store_name(export.iqn), export.tid)
        self._make_store(store, export)
        group = self._group(export.iqn)
        self._configfs.make(f"iscsi/{export.iqn}")
        self._configfs.make(group)
        self._set(f"{group}/attrib", GROUP_ATTRIBUTES)
        self._set(f"{group}/param", PARAMETERS)
        self._configfs.make(f"{group}/lun/lun_{LUN}")
        self._configfs.link(f"{group}/lun/lun_{LUN}", store.group, _ALIAS)
        self._let_in(group, export)
        self._configfs.make(f"{group}/np/{self._portal}")
        self._configfs.write(f"{group}/enable", 1)

    def delete_target(self, iqn: str, *, force: bool = False) -> None:
        """See `Target.delete_target`."""
        if (sessions := self._sessions(iqn)) and not force:
            names = ", ".join(session.initiator for session in sessions)
            raise TargetBusyError(f"{iqn} is in use by {names}", "ask the borrower to return the lease")
        for name in self._configfs.groups(f"iscsi/{iqn}"):
            if name.startswith("tpgt_"):
                self._delete_group(f"iscsi/{iqn}/{name}")
        self._configfs.remove(f"iscsi/{iqn}")
        for store in self._stores(iqn):
            self._configfs.remove(store.group)
            self._configfs.remove(store.parent)

    # How

    def _ours(self) -> list[str]:
        return [name for name in self._configfs.groups("iscsi") if lease_of(name) is not None]

    def _group(self, iqn: str) -> str:
        return f"iscsi/{iqn}/{_GROUP}"

    def _portals(self, iqn: str) -> Iterator[Portal]:
        for group in self._configfs.groups(f"iscsi/{iqn}"):
            for name in self._configfs.groups(f"iscsi/{iqn}/{group}/np"):
                yield Portal.parse(name)

    def _stores(self, iqn: str) -> list[_Store]:
        """Return the store of a target, found by its name: the target itself may not have been made, or be gone."""
        name = _store_name(iqn)
        found = [_Store(name, number) for number in sorted(self.numbers())]
        return [store for store in found if self._configfs.exists(store.group)]

    def _make_store(self, store: _Store, export: Export) -> None:
        path = str(export.path)
        if any(sign in path for sign in ",\n"):
            raise RamshareError(f"LIO cannot serve a file whose path has a comma: {path}", "choose another directory")
        write = self._configfs.write
        self._configfs.make(store.parent)
        self._configfs.make(store.group)
        write(f"{store.group}/control", f"fd_dev_name={path},fd_dev_size={export.path.stat().st_size}")
        write(f"{store.group}/udev_path", path)
        write(f"{store.group}/enable", 1)
        digits = disk_id(export.iqn)
        # LIO makes the registered NAA of the company's number and the first 25 hexadecimal digits of the serial number.
        write(f"{store.group}/wwn/company_id", f"0x{digits[1:7]}")
        write(f"{store.group}/wwn/vpd_unit_serial", digits[len(NAA_PREFIX) :])
        write(f"{store.group}/wwn/vendor_id", VENDOR)
        write(f"{store.group}/wwn/product_id", PRODUCT)
        thin = int(export.thin)
        self._set(f"{store.group}/attrib", {"emulate_tpu": thin, "is_nonrot": 1, "emulate_write_cache": 0})

    def _let_in(self, group: str, export: Export) -> None:
        entry = f"{group}/acls/{export.initiator}"
        self._configfs.make(entry)
        self._configfs.write(f"{entry}/auth/userid", export.user)
        self._configfs.write(f"{entry}/auth/password", export.secret)
        if export.proof_secret:
            self._configfs.write(f"{entry}/auth/userid_mutual", export.proof_user)
            self._configfs.write(f"{entry}/auth/password_mutual", export.proof_secret)
        self._set(f"{entry}/attrib", INITIATOR_ATTRIBUTES)
        self._configfs.make(f"{entry}/lun_{LUN}")
        self._configfs.link(f"{entry}/lun_{LUN}", f"{group}/lun/lun_{LUN}", _ALIAS)

    def _is_served(self, export: Export) -> bool:
        served = self._info(export.iqn)
        entry = f"{self._group(export.iqn)}/acls/{export.initiator}/auth"
        told = (self._configfs.read(f"{entry}/userid"), self._configfs.read(f"{entry}/password"))
        return (
            served.initiators == (export.initiator,)
            and told == (export.user, export.secret)
            and set(self._portals(export.iqn)) == {self._portal}
            and [(lun.path, lun.scsi_id) for lun in served.luns] == [(str(export.path), disk_id(export.iqn))]
        )

    def _delete_group(self, group: str) -> None:
        """Remove a portal group: the sessions end with it, and the address is free before anything else goes."""
        configfs = self._configfs
        if configfs.read(f"{group}/enable") == "1":
            configfs.write(f"{group}/enable", 0)
        for portal in configfs.groups(f"{group}/np"):
            configfs.remove(f"{group}/np/{portal}")
        for initiator in configfs.groups(f"{group}/acls"):
            entry = f"{group}/acls/{initiator}"
            for name in configfs.groups(entry):
                if name.startswith("lun_"):
                    configfs.unlink(f"{entry}/{name}")
                    configfs.remove(f"{entry}/{name}")
            configfs.remove(entry)
        for name in configfs.groups(f"{group}/lun"):
            configfs.unlink(f"{group}/lun/{name}")
            configfs.remove(f"{group}/lun/{name}")
        configfs.remove(group)

    def _set(self, group: str, values: Mapping[str, str | int]) -> None:
        for name, value in values.items():
            self._configfs.write(f"{group}/{name}", value)

    def _info(self, iqn: str) -> TargetInfo:
        group, stores = self._group(iqn), self._stores(iqn)
        enabled = self._configfs.read(f"{group}/enable") == "1"
        linked = {name for lun in self._configfs.groups(f"{group}/lun") for name in self._links(group, lun)}
        initiators = tuple(self._configfs.groups(f"{group}/acls"))
        return TargetInfo(
            tid=stores[0].number if stores else 0,
            iqn=iqn,
            luns=tuple(self._lun(store) for store in stores if store.group.removeprefix("core/") in linked),
            initiators=initiators if enabled else (),
            sessions=tuple(self._sessions(iqn)),
            accounts=tuple(self._configfs.read(f"{group}/acls/{name}/auth/userid") for name in initiators),
        )

    def _links(self, group: str, lun: str) -> list[str]:
        return self._configfs.links(f"{group}/lun/{lun}")

    def _lun(self, store: _Store) -> LunInfo:
        read = self._configfs.read
        serial = read(f"{store.group}/wwn/vpd_unit_serial").rpartition(":")[2].strip()
        company = int(read(f"{store.group}/wwn/company_id") or "0", 0)
        digits = "".join(sign for sign in serial if sign in "0123456789abcdefABCDEF")[:25]
        path = read(f"{store.group}/udev_path")
        return LunInfo(LUN, path, serial, scsi_id=f"6{company:06x}{digits}")

    def _sessions(self, iqn: str) -> list[TargetSession]:
        group = self._group(iqn)
        found = []
        for initiator in self._configfs.groups(f"{group}/acls"):
            told = self._configfs.read(f"{group}/acls/{initiator}/info")
            if session := _SESSION.search(told):
                by = _ADDRESS.search(told)
                address, cid = (by["address"], int(by["cid"])) if by else ("", 0)
                found.append(TargetSession(int(session["sid"]), session["initiator"], address, cid))
        return found


def load_lio(runner: Commands, modules: Path = Path("/sys/module"), mount_point: Path = MOUNT_POINT) -> None:
    """Have configfs mounted and LIO's modules loaded. Raises `CommandError`."""
    ensure_configfs(runner, mount_point)
    for module in MODULES:
        if not (modules / module).is_dir():
            runner.run(["modprobe", module])


def _store_name(iqn: str) -> str:
    """Return what a target's store is called: no other lender's on this kernel is called so, nor anybody else's."""
    return f"ramshare.{iqn.rpartition(':')[2]}"
