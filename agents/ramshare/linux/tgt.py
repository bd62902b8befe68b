"""The iSCSI target in user space (tgtd): per export one target, one unit, one initiator name and one CHAP secret.

tgtd keeps everything in memory, so `Tgt.show` is the truth about what is exported now. Every operation may be repeated.
A tgtd has its own control port (`-C`), so several can run on one machine. Used by `tgt_service.py` and the lab.
"""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare.linux.disk_identity import PRODUCT, VENDOR, disk_id, serial_number
from ramshare.linux.portal import Portal
from ramshare.linux.run import CommandError, Commands, Runner
from ramshare.linux.target import Export, TargetBusyError, TargetInfo
from ramshare.linux.tgt_account import create_account, socket_path
from ramshare.linux.tgt_show import parse_portals, parse_targets

LUN = 1
"""tgtd keeps 0 for itself."""

MAX_CONTROL_PORT = 32_767
NOT_RUNNING = 107
"""tgtadm's exit status when no daemon listens at the control socket (ENOTCONN)."""

TARGET_PARAMETERS: Mapping[str, str] = {
    # A write's data goes along with the command: one turn less on the wire (measured best on loopback).
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "262144",
    "FirstBurstLength": "262144",
    "MaxBurstLength": "1048576",
    "MaxOutstandingR2T": "8",
    # Notice a borrower that vanished without a logout: its session is closed after about 15 s.
    "nop_interval": "5",
    "nop_count": "3",
}

_TIMEOUT_S = 30.0
_EXISTS = ("already exists",)
_GONE = (
    "can't find the target",
    "can't find the account",
    "access control rule does not exist",
    "can't find the session",
    "can't find the connection",
    "can't find the logical unit",
)


class Tgt:
    """The tgtd behind one control port."""

    def __init__(
        self,
        runner: Runner,
        control_port: int,
        *,
        account_creator: Callable[[int, str, str], bool] = create_account,
    ) -> None:
        """Take the daemon's control port, 0 to 32767. Raises `RamshareError` for another."""
        if not 0 <= control_port <= MAX_CONTROL_PORT:
            raise RamshareError(f"tgtd's control port is 0 to {MAX_CONTROL_PORT}, not {control_port}")
        self._runner = runner
        self._port = control_port
        self._create_account = account_creator

    # The daemon

    def start_daemon(self, portal: Portal, *, log_path: Path | None = None) -> "subprocess.Popen[str] | None":
        """Start a tgtd that listens at `portal`; None if one answers already.

        It outlives this process, as the exports must. Wait for `ready`, then see where it really listens: one that
        cannot have `portal` takes every address of the host (`portals`).
        """
        if self.ready():
            return None
        argv = ["tgtd", "-f", "-C", str(self._port), "--iscsi", f"portal={portal}"]
        return self._runner.spawn(argv, log_path=log_path)

    def ready(self) -> bool:
        """Whether the daemon answers."""
        return self._runner.run(self._argv("show", "lld"), timeout_s=_TIMEOUT_S, ok=(0, NOT_RUNNING)).returncode == 0

    def stop_daemon(self) -> None:
        """Have a daemon without targets end; no daemon is success. (tgtd ignores SIGTERM.)"""
        if self.ready():
            self._adm("delete", "system")

    @property
    def control_socket(self) -> Path:
        """The daemon's control socket."""
        return socket_path(self._port)

    # What is true

    def portals(self) -> frozenset[Portal]:
        """Return where the daemon listens; nowhere if none runs."""
        return served_portals(self._runner, self._port) or frozenset()

    def show(self) -> list[TargetInfo]:
        """Return every target with its units, access list, accounts and sessions."""
        return shown_targets(self._runner, self._port)

    def find(self, iqn: str) -> TargetInfo | None:
        """Return the target named `iqn`."""
        return next((target for target in self.show() if target.iqn == iqn), None)

    # Exports

    def export(self, export: Export) -> None:
        """Create the whole target; the one initiator is let in last, when its secret is already demanded."""
        self.create_target(export.tid, export.iqn)
        self.set_parameters(export.tid)
        self.add_account(export.tid, export.user, export.secret)
        if export.proof_secret:
            self.add_account(export.tid, export.proof_user, export.proof_secret, outgoing=True)
        self.add_lun(export.tid, export.path, export.iqn, thin=export.thin, serial=export.serial)
        self.bind(export.tid, export.initiator)

    def create_target(self, tid: int, iqn: str) -> None:
        """Create a target that nobody may enter yet. Raises `CommandError` if `tid` or `iqn` is another's."""
        try:
            self._adm("new", "target", "--tid", str(tid), "--targetname", iqn)
        except CommandError:
            found = self.find(iqn)
            if found is None or found.tid != tid:
                raise

    def set_parameters(self, tid: int, parameters: Mapping[str, str] = TARGET_PARAMETERS) -> None:
        """Set the parameters that a session negotiates at login."""
        for name, value in parameters.items():
            self._adm("update", "target", "--tid", str(tid), "--name", name, "--value", value)

    def add_lun(self, tid: int, path: Path, iqn: str, *, thin: bool = False, serial: str = "") -> None:
        """Export the file `path` as logical unit 1 of target `iqn`: not rotational, UNMAP only if `thin`."""
        unit = ["--tid", str(tid), "--lun", str(LUN)]
        self._unless(_EXISTS, "new", "logicalunit", *unit, "--backing-store", str(path), "--bstype", "rdwr")
        params = ["rotation_rate=1", f"thin_provisioning={int(thin)}", f"vendor_id={VENDOR}", f"product_id={PRODUCT}"]
        params += [f"scsi_id={disk_id(iqn)}", f"scsi_sn={serial_number(serial or disk_id(iqn), iqn)}"]
        self._adm("update", "logicalunit", *unit, "--params", ",".join(params))

    def add_account(self, tid: int, user: str, secret: str, *, outgoing: bool = False) -> None:
        """Demand CHAP with this name and secret, or (`outgoing`) have the target prove itself by them.

        An account of that name that exists already gets the new secret.
        """
        if not self._create_account(self._port, user, secret):
            self.delete_account(user)
            self._create_account(self._port, user, secret)
        options = ["--outgoing"] if outgoing else []
        self._unless(_EXISTS, "bind", "account", "--tid", str(tid), "--user", user, *options)

    def delete_account(self, user: str) -> None:
        """Remove the account everywhere."""
        self._unless(_GONE, "delete", "account", "--user", user)

    def bind(self, tid: int, initiator: str) -> None:
        """Let the initiator of this name in, and nobody else."""
        self._unless(_EXISTS, "bind", "target", "--tid", str(tid), "--initiator-name", initiator)

    def unbind(self, tid: int, initiator: str) -> None:
        """Let the initiator log in no more; its session stays."""
        self._unless(_GONE, "unbind", "target", "--tid", str(tid), "--initiator-name", initiator)

    def close_sessions(self, target: TargetInfo) -> None:
        """End the sessions of `target`. The initiator comes back at once unless it is unbound first."""
        for session in target.sessions:
            ids = ["--tid", str(target.tid), "--sid", str(session.sid), "--cid", str(session.cid)]
            self._unless(_GONE, "delete", "conn", *ids)

    def delete_target(self, iqn: str, *, force: bool = False) -> None:
        """Remove the target, its unit and its accounts; none is success.

        Raises `TargetBusyError` if an initiator is logged in and `force` is not given.
        """
        target = self.find(iqn)
        if target is None:
            return
        if target.sessions and not force:
            names = ", ".join(session.initiator for session in target.sessions)
            raise TargetBusyError(f"{iqn} is in use by {names}", "ask the borrower to return the lease")
        for initiator in target.initiators:
            self.unbind(target.tid, initiator)
        self.close_sessions(target)
        options = ["--force"] if force else []
        self._unless(_GONE, "delete", "target", *options, "--tid", str(target.tid))
        for account in target.accounts:
            self.delete_account(account)

    # How

    def _argv(self, op: str, mode: str, *options: str) -> list[str]:
        return _argv(self._port, op, mode, *options)

    def _adm(self, op: str, mode: str, *options: str) -> str:
        return self._runner.run(self._argv(op, mode, *options), timeout_s=_TIMEOUT_S).stdout

    def _unless(self, harmless: Sequence[str], op: str, mode: str, *options: str) -> None:
        try:
            self._adm(op, mode, *options)
        except CommandError as error:
            if not any(words in error.done.stderr for words in harmless):
                raise


def shown_targets(runner: Commands, control_port: int) -> list[TargetInfo]:
    """Return every target of the tgtd behind a control port."""
    return parse_targets(runner.run(_argv(control_port, "show", "target"), timeout_s=_TIMEOUT_S).stdout)


def served_portals(runner: Commands, control_port: int) -> frozenset[Portal] | None:
    """Return where the tgtd behind a control port listens, None if there is no tgtd."""
    done = runner.run(_argv(control_port, "show", "portal"), timeout_s=_TIMEOUT_S, ok=(0, NOT_RUNNING))
    return None if done.returncode == NOT_RUNNING else parse_portals(done.stdout)


def _argv(control_port: int, op: str, mode: str, *options: str) -> list[str]:
    return ["tgtadm", "-C", str(control_port), "--lld", "iscsi", "--op", op, "--mode", mode, *options]
