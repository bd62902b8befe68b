"""The node record of a lease: every field that decides how its session behaves, whatever `iscsid.conf` says.

`iscsiadm -o new` fills a record from `iscsid.conf`, which is somebody's for his SAN: two sessions per target, manual
scans, mutual CHAP with other secrets, digests, other time-outs. So all fields of open-iscsi 2.1.8 are written here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_FIXED = {
    # A lease is logged in to by its borrower only, once, over plain TCP, under the host's own initiator name.
    "node.startup": "manual",
    "node.conn[0].startup": "manual",
    "node.leading_login": "No",
    "node.session.nr_sessions": "1",
    "iface.iscsi_ifacename": "default",
    "iface.transport_name": "tcp",
    # Its disk appears at the login.
    "node.session.scan": "auto",
    # A session whose lender comes back within the replacement time-out goes on, however often it takes.
    "node.session.reopen_max": "0",
    "node.session.initial_login_retry_max": "2",
    "node.conn[0].timeo.login_timeout": "10",
    "node.conn[0].timeo.logout_timeout": "15",
    "node.conn[0].timeo.auth_timeout": "45",
    # open-iscsi's own defaults; iSCSI's error handling is over before the kernel's begins.
    "node.session.err_timeo.abort_timeout": "15",
    "node.session.err_timeo.lu_reset_timeout": "30",
    "node.session.err_timeo.tgt_reset_timeout": "30",
    "node.session.err_timeo.host_reset_timeout": "60",
    "node.session.initial_cmdsn": "0",
    "node.session.xmit_thread_priority": "-20",
    "node.session.iscsi.FastAbort": "Yes",
    # Data segments as the target's, so that a write needs no extra turn.
    "node.session.iscsi.InitialR2T": "No",
    "node.session.iscsi.ImmediateData": "Yes",
    "node.session.iscsi.FirstBurstLength": "262144",
    "node.session.iscsi.MaxBurstLength": "1048576",
    "node.conn[0].iscsi.MaxRecvDataSegmentLength": "262144",
    "node.conn[0].iscsi.MaxXmitDataSegmentLength": "0",
    "node.session.iscsi.DefaultTime2Retain": "0",
    "node.session.iscsi.DefaultTime2Wait": "2",
    "node.session.iscsi.MaxConnections": "1",
    "node.session.iscsi.MaxOutstandingR2T": "1",
    "node.session.iscsi.ERL": "0",
    # Checksums would cost both sides CPU for what TCP and Ethernet check already.
    "node.conn[0].iscsi.HeaderDigest": "None",
    "node.conn[0].iscsi.DataDigest": "None",
    "node.conn[0].iscsi.IFMarker": "No",
    "node.conn[0].iscsi.OFMarker": "No",
    "node.conn[0].tcp.window_size": "524288",
    "node.conn[0].tcp.type_of_service": "0",
}
_FOREIGN = ("node.session.auth.", "iface.")
"""Settings of these kinds that are not ours go: they name other secrets, other cards, another initiator."""
CHAP_ALGORITHM = "MD5"
"""The only one that tgt and every open-iscsi know; a secret is random, used once, and never travels."""


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
        """Return the record's keys and values, all but how to authenticate."""
        return {
            **_FIXED,
            "node.conn[0].timeo.noop_out_interval": str(self.noop_interval_s),
            "node.conn[0].timeo.noop_out_timeout": str(self.noop_timeout_s),
            "node.session.timeo.replacement_timeout": str(self.replacement_timeout_s),
            "node.session.queue_depth": str(self.queue_depth),
            "node.session.cmds_max": str(self.cmds_max),
        }


MIRROR_PARAMETERS = SessionParameters(noop_interval_s=1, noop_timeout_s=2, replacement_timeout_s=4)
"""A dead lender is noticed within 3 s and given up within 7, since the other leg has every page; 3 s are survived."""
MOVE_PARAMETERS = SessionParameters(noop_interval_s=5, noop_timeout_s=5, replacement_timeout_s=90)
"""The pages lie nowhere else: waiting for the lender to come back beats killing whoever touches them."""


def authentication(user: str, secret: str, target_user: str = "", target_secret: str = "") -> dict[str, str]:
    """Return how we prove who we are to the target, and the target to us; who has no secret does not."""
    if not secret:
        return {"node.session.auth.authmethod": "None"}
    proof = {"node.session.auth.username_in": target_user, "node.session.auth.password_in": target_secret}
    return {
        "node.session.auth.authmethod": "CHAP",
        "node.session.auth.chap_algs": CHAP_ALGORITHM,
        "node.session.auth.username": user,
        "node.session.auth.password": secret,
        **(proof if target_secret else {}),
    }


def own_record(text: str, settings: Mapping[str, str]) -> str:
    """Return a node record that says what `settings` say, and nothing of what `iscsid.conf` put into it instead."""
    kept = [
        line
        for line in text.splitlines()
        if (key := _key(line)) in settings or not key.startswith(_FOREIGN) or line.rstrip().endswith(" = 0")
    ]
    return changed_record("\n".join(kept), settings)


def changed_record(text: str, settings: Mapping[str, str]) -> str:
    """Return a node record with `settings` in place of, or besides, what it has."""
    left = dict(settings)
    lines = []
    for line in text.splitlines():
        if line.startswith("# END"):
            break
        key = _key(line)
        lines.append(f"{key} = {left.pop(key)}" if key in left else line)
    return "\n".join([*lines, *(f"{name} = {value}" for name, value in left.items()), "# END RECORD"]) + "\n"


def _key(line: str) -> str:
    return line.partition("=")[0].strip()
