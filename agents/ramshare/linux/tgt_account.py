"""Hands one CHAP account to a running tgtd without showing the secret to anybody.

tgtadm takes the password in its command line only, where every user of the host can read it. It is itself a thin client
of tgtd's control socket, so this one request is sent there directly (`struct tgtadm_req` of tgt's `tgtadm.h`, unchanged
since 2011). Everything else goes through tgtadm. Used by `tgt.py`.
"""

import os
import socket
import struct
from pathlib import Path

from ramshare.errors import RamshareError

_REQUEST = struct.Struct("=ii64sIiQQIIIIII")
"""mode, op, driver, length, tid, sid, lun, cid, host, device type, direction, pack, force."""
_REPLY = struct.Struct("=II")
_MODE_ACCOUNT = 7
_OP_NEW = 0
_USER_EXISTS = 14
_TIMEOUT_S = 10.0


class TgtSocketError(RamshareError):
    """tgtd did not take the account."""


def socket_path(control_port: int) -> Path:
    """Return the control socket of the tgtd that was started with `-C control_port`."""
    return Path(f"{os.environ.get('TGT_IPC_SOCKET', '/var/run/tgtd/socket')}.{control_port}")


def create_account(control_port: int, user: str, secret: str) -> bool:
    """Create the account; False if one of that name exists (its secret stays). Raises `TgtSocketError`."""
    if not user or not secret or "," in user or "," in secret:
        raise TgtSocketError("a CHAP user name or secret may not be empty or contain a comma")
    body = f"user={user},password={secret}".encode() + b"\0"
    head = _REQUEST.pack(_MODE_ACCOUNT, _OP_NEW, b"iscsi", _REQUEST.size + len(body), -1, 0, 0, 0, 0, 0, 0, 0, 0)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(_TIMEOUT_S)
            link.connect(str(socket_path(control_port)))
            link.sendall(head + body)
            reply = link.recv(_REPLY.size, socket.MSG_WAITALL)
    except OSError as error:
        raise TgtSocketError(
            f"tgtd does not answer at {socket_path(control_port)}: {error}", "is tgtd running?"
        ) from error
    if len(reply) != _REPLY.size:
        raise TgtSocketError("tgtd closed its control socket without an answer")
    status, _ = _REPLY.unpack(reply)
    if status not in (0, _USER_EXISTS):
        raise TgtSocketError(f"tgtd refused the CHAP account (its error {status})")
    return bool(status == 0)
