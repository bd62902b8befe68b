"""What a borrower's machine needs before its first volume is looked at. Runs on the borrower's worker thread."""

from ramshare.borrower.machine.look import LvmLook
from ramshare.borrower.machine.stay_resident import stay_resident
from ramshare.borrower.plan.tags import parse
from ramshare.linux.ballast import Ballast
from ramshare.linux.iscsiadm import read_initiator_name
from ramshare.linux.lvm import Lvm
from ramshare.linux.pin import PinnedFiles
from ramshare.linux.run import Runner, require_root, require_tools
from ramshare.linux.swap import any_queue

TOOLS = ("lvs", "pvmove", "vgextend", "lvconvert", "iscsiadm", "cryptsetup")
HELD_TOOLS = (*TOOLS, "dmsetup", "iscsid")
"""Held in memory together with their libraries."""


class Startup:
    """Checks the machine and makes it fit for work while its swap stalls."""

    def __init__(self, runner: Runner, lvm: Lvm, look: LvmLook, ballast: Ballast) -> None:
        self._runner = runner
        self._lvm = lvm
        self._look = look
        self._ballast = ballast
        self._pinned = PinnedFiles()

    def start(self) -> list[str]:
        """Return the volumes that carry our tags; their interrupted moves go on. Raises `MissingPartError`."""
        require_root("a borrower")
        require_tools(TOOLS)
        read_initiator_name()
        stay_resident(self._runner, self._pinned, HELD_TOOLS)
        if any_queue():
            self._ballast.fill()
        ours_now = [lv for lv in self._look.report().lvs if parse(lv.tags).present]
        if any(lv.moves for lv in ours_now):
            self._lvm.resume_moves()
        return [lv.full_name for lv in ours_now]
