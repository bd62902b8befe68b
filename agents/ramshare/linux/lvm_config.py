"""What we pin of LVM's configuration: everything that would change how it prints or labels, whatever lvm.conf says.

Found by setting every key of `lvmconfig --type full` (LVM 2.03.16) to other values and comparing reports. `--config`
goes before lvm.conf, lvmlocal.conf, host tags and profiles. What an owner decides about his storage (filters, devices
file, fault policies, read-only metadata) is left alone: `host_checks/lvm_settings.py` says where it works against us.
"""

_REPORT = (
    "report/binary_values_as_numeric=0",
    "report/buffered=1",
    "report/columns_as_rows=0",
    "report/compact_output=0",
    'report/compact_output_cols=""',
    'report/list_item_separator=","',
    "report/mark_hidden_devices=1",
    "report/prefixes=0",
    "report/quoted=1",
    "report/two_word_unknown_device=0",
    # A sort column of another kind than the report's rows makes LVM refuse the whole report.
    'report/vgs_sort_full="vg_name"',
    'report/pvs_sort_full="pv_name"',
    'report/lvs_sort_full="vg_name,lv_name"',
    'report/pvsegs_sort_full="pv_uuid,pvseg_start"',
    'report/segs_sort_full="lv_uuid,seg_start"',
)
_MESSAGES = (
    'log/prefix="  "',
    "log/command_names=0",
    "log/indent=0",
    "log/report_command_log=0",
    "log/silent=0",
    "log/verbose=0",
    # LVM's own warning: writing a log while a device is suspended can deadlock when memory is short.
    "log/activation=0",
)
_NAMES_AND_UNITS = (
    'global/units="b"',
    "global/suffix=0",
    # A filter that lets disks in by identity would otherwise name them so too; sessions know them as `/dev/sdb`.
    'devices/preferred_names=["^/dev/mapper/","^/dev/[^/]+$"]',
)
_BEHAVIOUR = (
    # A second LVM command waits for the first one's lock instead of failing.
    "global/wait_for_locks=1",
    # The lease is sized for a first extent at 1 MiB.
    "devices/data_alignment=1024",
    "devices/data_alignment_detection=0",
    # No "historical" volumes for each placeholder that we remove.
    "metadata/record_lvs_history=0",
)
_TOLERANCE = (
    # A key above that some version of LVM does not know is neither told nor a reason to abort.
    "config/checks=0",
    "config/abort_on_errors=0",
)

PINNED = " ".join((*_REPORT, *_MESSAGES, *_NAMES_AND_UNITS, *_BEHAVIOUR, *_TOLERANCE))
"""For `--config` of every command of LVM's."""
