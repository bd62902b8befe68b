"""What one sample shows of a swap volume: that somebody waits for pages from it, or that nobody swaps to it."""

from ramshare.policy.demand_model import VolumeSample

STORM_READ_BYTES_S = 64 << 10
"""16 pages a second; a hard disk of 120 operations a second that reads and writes at random does three times that."""
STORM_BUSY_PERCENT, STORM_PSI_PERCENT, STORM_REFAULTS_S = 50.0, 10.0, 1000.0
"""Any of them says that somebody waits. Under PSI of 10 % a lender takes memory back, too (`intake.py`)."""
LEAST_USED_BYTES = 16 << 20
"""A volume with less on it is read through in a moment."""
REPORT_OLD_S = 30.0
"""What is older says nothing of now."""
QUIET_READ_BYTES_S, QUIET_WRITE_BYTES_S = 32 << 10, 1 << 20
"""Below both a volume is quiet: stray pages of what was swapped out long ago are read at less."""


def is_quiet(sample: VolumeSample) -> bool:
    """Whether hardly anything is read or written, by the kernel's count; no guest's word keeps memory."""
    return sample.read_bytes_s < QUIET_READ_BYTES_S and sample.write_bytes_s < QUIET_WRITE_BYTES_S


def is_storming(sample: VolumeSample) -> bool:
    """Whether pages are read back while somebody waits for them: a guest's word alone says neither."""
    if not sample.read_bytes_s >= STORM_READ_BYTES_S:
        return False
    if sample.swap_used_bytes is not None and sample.swap_used_bytes < LEAST_USED_BYTES:
        return False
    fresh = [report for report in sample.reports if 0.0 <= report.age_s <= REPORT_OLD_S]
    if fresh and not any(report.swap_in_bytes_s >= STORM_READ_BYTES_S / 2 for report in fresh):
        return False  # somebody reads the disk, but does not swap: a copy, a check
    return sample.busy_percent >= STORM_BUSY_PERCENT or any(
        (report.psi_some or 0.0) >= STORM_PSI_PERCENT or (report.refaults_s or 0.0) >= STORM_REFAULTS_S
        for report in fresh
    )
