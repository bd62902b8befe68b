"""What a lender acts with on its machine: made from the settings by `launch.py`, from fakes by tests."""

from dataclasses import dataclass, field

from ramshare.lender.exports.store import Exports
from ramshare.linux.hypervisor import Hypervisor, NullHypervisor
from ramshare.linux.lio import Lio
from ramshare.linux.portal import Portal, told_portal
from ramshare.linux.pressure_watch import NoWatch, PressureWatch, Watch
from ramshare.linux.ramdisk import Ramdisk
from ramshare.linux.run import Runner
from ramshare.linux.sampling import MemorySampler, Sampler
from ramshare.linux.target import Target
from ramshare.linux.tgt import Tgt
from ramshare.linux.tgt_service import TgtService
from ramshare.policy.model import Policy
from ramshare.policy.registry import DEFAULT_POLICY, make_policy
from ramshare.settings import HostSettings, LenderLabSettings, LenderSettings


@dataclass(frozen=True)
class Hands:
    """The parts that touch the machine, and the policy."""

    exports: Exports
    portal: str
    """Where `exports` serve."""
    sampler: Sampler
    policy: Policy
    watch: Watch = field(default_factory=NoWatch)
    hypervisor: Hypervisor = field(default_factory=NullHypervisor)
    share_bytes: int | None = None
    """This host's share of the machine where several play hosts on one; None: all of it."""


def hands_of(
    host: HostSettings, settings: LenderSettings, lab: LenderLabSettings, runner: Runner, hypervisor: Hypervisor
) -> Hands:
    """Return the hands that the settings ask for. Raises `UnknownPolicyError` and `PortalError`."""
    portal = told_portal(settings)
    target = target_of(settings, portal, runner)
    return Hands(
        exports=Exports(Ramdisk(runner, settings.directory), target, host.host),
        portal=str(portal),
        sampler=MemorySampler(host.sample_interval_s),
        policy=make_policy(settings.policy or DEFAULT_POLICY, settings.policy_caution, lab.policy_pace),
        watch=PressureWatch(),
        hypervisor=hypervisor,
        share_bytes=lab.capacity_bytes,
    )


def target_of(settings: LenderSettings, portal: Portal, runner: Runner) -> Target:
    """Return the target that the settings ask for."""
    if settings.target == "lio":
        return Lio(runner, portal)
    return TgtService(Tgt(runner, settings.control_port), portal)
