"""The iSCSI initiator: node records, login and logout.

The record file is written here and not by `iscsiadm -o update`: one process start instead of fifteen, and the CHAP
secret never stands in a command line that every user of the host can read. What a login brought is read by
`iscsi_sessions.py`. Used by the borrower.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from ramshare.errors import MissingPartError, RamshareError
from ramshare.linux.run import CommandError, Commands

NODE_DIRECTORIES = (Path("/etc/iscsi/nodes"), Path("/var/lib/iscsi/nodes"))
"""Where distributions keep node records: Debian's place first, then that of newer Fedora and SUSE."""
INITIATOR_NAME_FILE = Path("/etc/iscsi/initiatorname.iscsi")
DEFAULT_PORT = 3260
LOGIN_TIMEOUT_S = 60.0
LOGOUT_TIMEOUT_S = 120.0


class Status(IntEnum):
    """Exit statuses of iscsiadm that mean something to us (open-iscsi's `iscsi_err.h`)."""

    OK = 0
    SESSION_NOT_FOUND = 2
    TRANSPORT = 4
    LOGIN = 5
    TIMEOUT = 8
    LOGOUT = 10
    SESSION_EXISTS = 15
    DAEMON_UNREACHABLE = 18
    FATAL_LOGIN = 19
    DAEMON_NOT_CONNECTED = 20
    NO_OBJECTS_FOUND = 21
    AUTHENTICATION_FAILED = 24
    BUSY = 28


class LoginError(RamshareError):
    """A target did not let us in, or nobody answered at its address; `status` says which."""

    def __init__(self, message: str, hint: str, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


@dataclass(frozen=True)
class SessionParameters:
    """What has to be set before the login; the kernel refuses changes after a failure."""

    noop_interval_s: int
    noop_timeout_s: int
    replacement_timeout_s: int
    """How long I/O waits for a lost session before it fails."""
    queue_depth: int = 32
    cmds_max: int = 128

    def settings(self) -> dict[str, str]:
        """Return the record's keys and values. Data segments as the target's, so that a write needs no extra turn."""
        return {
            "node.startup": "manual",
            "node.conn[0].startup": "manual",
            "node.conn[0].timeo.noop_out_interval": str(self.noop_interval_s),
            "node.conn[0].timeo.noop_out_timeout": str(self.noop_timeout_s),
            "node.session.timeo.replacement_timeout": str(self.replacement_timeout_s),
            "node.conn[0].timeo.login_timeout": "10",
            "node.session.initial_login_retry_max": "2",
            "node.session.queue_depth": str(self.queue_depth),
            "node.session.cmds_max": str(self.cmds_max),
            "node.session.iscsi.InitialR2T": "No",
            "node.session.iscsi.ImmediateData": "Yes",
            "node.session.iscsi.FirstBurstLength": "262144",
            "node.session.iscsi.MaxBurstLength": "1048576",
            "node.conn[0].iscsi.MaxRecvDataSegmentLength": "262144",
        }


MIRROR_PARAMETERS = SessionParameters(noop_interval_s=1, noop_timeout_s=2, replacement_timeout_s=4)
"""A dead lender is noticed within 3 s and given up within 7, since the other leg has every page; 3 s are survived."""
MOVE_PARAMETERS = SessionParameters(noop_interval_s=5, noop_timeout_s=5, replacement_timeout_s=90)
"""The pages lie nowhere else: waiting for the lender to come back beats killing whoever touches them."""


def read_initiator_name(path: Path = INITIATOR_NAME_FILE) -> str:
    """Return this host's initiator name. Raises `MissingPartError` if there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise MissingPartError(f"no iSCSI initiator name: {error}", "apt-get install open-iscsi") from error
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == "InitiatorName" and value.strip():
            return value.strip()
    raise MissingPartError(f"no InitiatorName in {path}", f"echo InitiatorName=$(iscsi-iname) > {path}")


def portal_of(address: str, port: int = DEFAULT_PORT) -> str:
    """Return `address:port`, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Iscsiadm:
    """Node records and sessions of this host's initiator. Every operation may be repeated."""

    def __init__(self, runner: Commands, nodes: Path | None = None) -> None:
        self._runner = runner
        self._nodes = nodes or next((path for path in NODE_DIRECTORIES if path.is_dir()), NODE_DIRECTORIES[0])

    def create_node(
        self, portal: str, iqn: str, parameters: SessionParameters, *, user: str = "", secret: str = ""
    ) -> None:
        """Write the record for the target `iqn` at `portal` (`address:port`), with CHAP if `secret` is given."""
        self._run(["-o", "new", "-T", iqn, "-p", f"{portal},1"])
        settings = parameters.settings()
        if secret:
            settings |= {
                "node.session.auth.authmethod": "CHAP",
                "node.session.auth.username": user,
                "node.session.auth.password": secret,
            }
        record = self._record(portal, iqn)
        _write_secretly(record, changed_record(record.read_text(), settings))

    def login(self, portal: str, iqn: str) -> None:
        """Log in; an existing session is success. Raises `LoginError`."""
        try:
            self._run(
                ["-T", iqn, "-p", portal, "--login"], ok=(Status.OK, Status.SESSION_EXISTS), timeout_s=LOGIN_TIMEOUT_S
            )
        except CommandError as error:
            raise _login_error(error, portal, iqn) from error

    def logout(self, portal: str, iqn: str) -> None:
        """End the session; none is success."""
        gone = (Status.OK, Status.SESSION_NOT_FOUND, Status.NO_OBJECTS_FOUND)
        self._run(["-T", iqn, "-p", portal, "--logout"], ok=gone, timeout_s=LOGOUT_TIMEOUT_S)

    def delete_node(self, portal: str, iqn: str) -> None:
        """Remove the record and the secret in it; none is success. The session must be gone."""
        self._run(["-o", "delete", "-T", iqn, "-p", portal], ok=(Status.OK, Status.NO_OBJECTS_FOUND))

    def nodes(self) -> list[tuple[str, str]]:
        """Return portal and name of every record; reads the directory, starts nothing."""
        found = []
        for record in sorted(self._nodes.glob("*/*,*")):
            address, port, *_ = record.name.split(",")
            found.append((portal_of(address, int(port)), record.parent.name))
        return found

    def _record(self, portal: str, iqn: str) -> Path:
        address, _, port = portal.rpartition(":")
        return self._nodes / iqn / f"{address.strip('[]')},{port},1" / "default"

    def _run(self, argv: Sequence[str], ok: Sequence[int] = (0,), timeout_s: float = 60.0) -> None:
        self._runner.run(["iscsiadm", "-m", "node", *argv], ok=ok, timeout_s=timeout_s)


def changed_record(text: str, settings: Mapping[str, str]) -> str:
    """Return a node record with `settings` in place of, or besides, what it has."""
    left = dict(settings)
    lines = []
    for line in text.splitlines():
        key = line.partition("=")[0].strip()
        if line.startswith("# END"):
            lines += [f"{name} = {value}" for name, value in left.items()]
        lines.append(f"{key} = {left.pop(key)}" if key in left else line)
    return "\n".join(lines) + "\n"


def _write_secretly(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)
    temporary.replace(path)


def _login_error(error: CommandError, portal: str, iqn: str) -> RamshareError:
    status = error.done.returncode
    if status == Status.AUTHENTICATION_FAILED:
        return LoginError(
            f"{iqn} at {portal} refused our name or secret", "the grant may have expired: borrow again", status
        )
    if status in (Status.DAEMON_UNREACHABLE, Status.DAEMON_NOT_CONNECTED):
        return MissingPartError("iscsid does not run", "systemctl start iscsid")
    if status in (Status.TIMEOUT, Status.TRANSPORT):
        return LoginError(f"nobody answers at {portal}", f"check the network: nc -z {portal.replace(':', ' ')}", status)
    return LoginError(f"login to {iqn} at {portal} failed: {error.message}", "", status)
