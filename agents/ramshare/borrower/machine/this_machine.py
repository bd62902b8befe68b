"""Puts together what the agent needs of the machine that it runs on."""

from functools import partial

from ramshare.borrower.machine.api import Machine, NoGuestDisks
from ramshare.borrower.machine.bare_disks import BareDisks
from ramshare.borrower.machine.comparisons import Comparisons
from ramshare.borrower.machine.executor import Executor
from ramshare.borrower.machine.guest_disks import HypervisorsDisks
from ramshare.borrower.machine.host import BorrowerHost
from ramshare.borrower.machine.iscsi import LeaseSessions
from ramshare.borrower.machine.look import LvmLook
from ramshare.borrower.machine.lvm_cache import LvmCache
from ramshare.borrower.machine.lvm_tags import VolumeTags
from ramshare.borrower.machine.owed_file import OwedFile
from ramshare.borrower.machine.repair import LostLeases, Rescue
from ramshare.borrower.machine.session_watch import SessionWatch
from ramshare.borrower.machine.startup import Startup
from ramshare.borrower.machine.suspend_watch import SuspendWatch
from ramshare.borrower.machine.swap_watch import KernelSwapWatch
from ramshare.borrower.machine.turn import Turns
from ramshare.linux.ballast import Ballast
from ramshare.linux.disk_identity import wwid
from ramshare.linux.dm import Dmsetup
from ramshare.linux.hypervisor import Hypervisor
from ramshare.linux.lvm import Lvm
from ramshare.linux.run import Runner
from ramshare.linux.signatures import found_on
from ramshare.linux.swap import turn_off_if_it_fits
from ramshare.sealed import SealingKeys
from ramshare.settings import BorrowerSettings

BALLAST_BYTES = 24 << 20
"""Held by a host that swaps through a loop device, and dropped while LVM works. Without it 3 of 3 deaths of a lender
wedged such a host of 320 MB."""


def this_machine(runner: Runner, settings: BorrowerSettings, hypervisor: Hypervisor | None = None) -> Machine:
    """Return it; nothing is looked at before `start`."""
    ballast = Ballast(BALLAST_BYTES)
    bare = BareDisks()
    lvm, dm = Lvm(runner, ballast=ballast, hidden=bare.hidden), Dmsetup(runner)
    keys = SealingKeys()
    iscsi = LeaseSessions(runner, settings.patience_s, left=lambda iqn: lvm.forget_disk(wwid(iqn)), unseal=keys.open)
    cache, comparisons = LvmCache(), Comparisons()
    tags, rescue, look = (
        VolumeTags(lvm, cache),
        Rescue(runner, lvm, settings.directory),
        LvmLook(lvm, iscsi, bare, comparisons),
    )
    executor = Executor(lvm, tags, iscsi, rescue, LostLeases(lvm, tags, dm, iscsi, rescue), comparisons)
    return Machine(
        start=Startup(runner, lvm, look, ballast).start,
        turn=Turns(look, cache, dm, executor, ballast).turn,
        host=BorrowerHost(
            look, tags, iscsi, partial(found_on, runner), partial(turn_off_if_it_fits, runner), encrypt=settings.encrypt
        ),
        owed=OwedFile(settings.directory),
        sessions_changed=SessionWatch().changed,
        suspended=SuspendWatch(dm),
        swap_watch=KernelSwapWatch(),
        public_key=keys.public,
        guest_disks=HypervisorsDisks(hypervisor) if hypervisor is not None else NoGuestDisks(),
    )
