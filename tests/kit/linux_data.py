"""What the real tools printed (kernel 6.1, LVM 2.03.16, tgt 1.0.85, open-iscsi 2.1.8), for the parsers' tests."""

from pathlib import Path

DATA = Path(__file__).parents[1] / "data"

NODE_RECORD = (DATA / "node_record.txt").read_text()
"""A node record as `iscsiadm -o new` leaves it."""
TGT_SHOW = (DATA / "tgt_show.txt").read_text()
"""Two exports, each with one initiator logged in."""
DM_INFO = (DATA / "dm_info.txt").read_text()
HOSTILE_LVM_CONF = """\
report { binary_values_as_numeric=1 buffered=0 columns_as_rows=1 compact_output=1 compact_output_cols="lv_tags"
         list_item_separator=";" mark_hidden_devices=0 prefixes=1 quoted=0 two_word_unknown_device=1
         output_format="json" headings=0 separator="|" aligned=0
         lvs_sort_full="lv_size" vgs_sort_full="vg_size" pvs_sort_full="pv_size" segs_sort_full="seg_size" }
log { prefix="# " command_names=1 indent=1 verbose=3 silent=1 report_command_log=1 activation=1 }
global { units="h" suffix=1 wait_for_locks=0 }
devices { preferred_names=["^/dev/disk/by-id/"] data_alignment=8192 }
metadata { record_lvs_history=1 }
config { checks=1 abort_on_errors=1 }
"""
"""An `lvm.conf` that has LVM print in every other way there is."""
SITE_ISCSID_CONF = """\
node.startup = automatic
node.leading_login = Yes
node.session.auth.authmethod = CHAP
node.session.auth.username = san-user
node.session.auth.password = sansecret12345
node.session.auth.username_in = san-target
node.session.auth.password_in = targetsecret678
node.session.auth.chap_algs = SHA3-256,SHA256
node.session.nr_sessions = 2
node.session.scan = manual
node.session.reopen_max = 3
node.session.initial_login_retry_max = 30
node.session.timeo.replacement_timeout = 120
node.session.err_timeo.abort_timeout = 1
node.session.err_timeo.lu_reset_timeout = 1
node.session.err_timeo.tgt_reset_timeout = 1
node.session.err_timeo.host_reset_timeout = 1
node.session.cmds_max = 2
node.session.queue_depth = 1
node.session.xmit_thread_priority = 20
node.session.initial_cmdsn = 5
node.session.iscsi.FastAbort = No
node.session.iscsi.InitialR2T = Yes
node.session.iscsi.ImmediateData = No
node.session.iscsi.FirstBurstLength = 512
node.session.iscsi.MaxBurstLength = 512
node.session.iscsi.DefaultTime2Retain = 20
node.session.iscsi.DefaultTime2Wait = 20
node.session.iscsi.MaxConnections = 4
node.session.iscsi.MaxOutstandingR2T = 9
node.session.iscsi.ERL = 2
node.conn[0].startup = automatic
node.conn[0].tcp.window_size = 1024
node.conn[0].tcp.type_of_service = 8
node.conn[0].timeo.logout_timeout = 1
node.conn[0].timeo.login_timeout = 300
node.conn[0].timeo.auth_timeout = 1
node.conn[0].timeo.noop_out_interval = 0
node.conn[0].timeo.noop_out_timeout = 0
node.conn[0].iscsi.MaxXmitDataSegmentLength = 512
node.conn[0].iscsi.MaxRecvDataSegmentLength = 512
node.conn[0].iscsi.HeaderDigest = CRC32C
node.conn[0].iscsi.DataDigest = CRC32C,None
node.conn[0].iscsi.IFMarker = Yes
node.conn[0].iscsi.OFMarker = Yes
iface.iscsi_ifacename = san0
iface.transport_name = iser
iface.initiatorname = iqn.1999-01.com.example:somebody
iface.net_ifacename = eth9
iface.hwaddress = 00:11:22:33:44:55
"""
"""An `iscsid.conf` that sets everything which can be set to something else."""


def lvm_report(name: str) -> str:
    """Return LVM's report of: linear, joined, moving, syncing, mirrored, lender_dead, missing_dropped, at_lender.

    `binary_values` and `list_separator` say what `at_lender` does, printed as other settings of lvm.conf have it.
    """
    return (DATA / "lvm" / f"{name}.json").read_text()


def tgt_show(name: str) -> str:
    """Return tgtd's list of targets on: hosta, hostb (each with a lease, their disks of one name)."""
    return (DATA / "tgt" / f"show_{name}.txt").read_text()


MULTIPATH_DEFAULT = (DATA / "multipath" / "debian_default.txt").read_text()
"""`multipath -t` of multipath-tools 0.9.4 without any configuration, its table of vendors left out."""
