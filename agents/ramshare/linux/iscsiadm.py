"""The iSCSI initiator: node records, login and logout.

The record file (`iscsi_record.py` says what is in it) is written here and not by `iscsiadm -o update`: one process
start instead of fifteen, and the CHAP secret never stands in a command line that every user of the host can read. What
a login brought is read by `iscsi_sessions.py`. Used by the borrower.
"""

import os
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from ramshare.errors import MissingPartError, RamshareError
from ramshare.linux.iscsi_record import (
    MIRROR_PARAMETERS,
    MOVE_PARAMETERS,
    SessionParameters,
    authentication,
    changed_record,
    own_record,
)
from ramshare.linux.run import CommandError, Commands

__all__ = [
    "MIRROR_PARAMETERS",
    "MOVE_PARAMETERS",
    "Iscsiadm",
    "LoginError",
    "SessionParameters",
    "changed_record",
    "portal_of",
    "read_initiator_name",
]

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


def read_initiator_name(path: Path = INITIATOR_NAME_FILE) -> str:
    """Return this host's initiator name, found as iscsid finds it. Raises `MissingPartError` if there is none."""
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError as error:
        raise MissingPartError(f"{path} is not UTF-8: {error}", f"write the name anew: iscsi-iname > {path}") from error
    except OSError as error:
        raise MissingPartError(f"no iSCSI initiator name: {error}", "apt-get install open-iscsi") from error
    for line in lines:
        before, key, rest = line.partition("InitiatorName")
        value = rest.partition("=")[2].strip()
        if key and "#" not in before and value:
            return value
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
        self,
        portal: str,
        iqn: str,
        parameters: SessionParameters,
        *,
        user: str = "",
        secret: str = "",
        target_user: str = "",
        target_secret: str = "",
    ) -> None:
        """Write the record for the target `iqn` at `portal` (`address:port`), with CHAP if `secret` is given.

        With a `target_secret` the target must prove itself, too.
        """
        self._run(["-o", "new", "-T", iqn, "-p", f"{portal},1"])
        settings = parameters.settings() | authentication(user, secret, target_user, target_secret)
        record = self._record(portal, iqn)
        _write_secretly(record, own_record(record.read_text(errors="replace"), settings))

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
