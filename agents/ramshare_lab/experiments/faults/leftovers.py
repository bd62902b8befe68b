"""Looks for what a case left behind, in the places where the truth is: RAM files, targets, LVM, sessions, kernel."""

from collections.abc import Iterator
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare.linux.lvm import Lvm
from ramshare.linux.run import Commands
from ramshare.linux.tgt import shown_targets
from ramshare.messages.names import lease_of
from ramshare_lab.cluster.blueprint import DIRECTORY_IN_VM, control_port
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.spec import VOLUME
from ramshare_lab.cluster.vm import Vm

LOCAL_DISK = "/dev/vda"
LIO_TARGETS = "/sys/kernel/config/target/iscsi"


def left_behind(lab: Lab) -> list[str]:
    """Return a sentence for everything that should not be there when every lease has been given back."""
    found: list[str] = []
    for name in lab.spec.lender_names:
        found += _guarded(_at_lender(lab, name), name)
    for name in lab.spec.borrower_names:
        found += _guarded(_at_borrower(lab.vms[name]), name)
    return found


def _guarded(sentences: Iterator[str], host: str) -> list[str]:
    try:
        return [f"{host}: {sentence}" for sentence in sentences]
    except (RamshareError, OSError) as error:
        return [f"{host}: cannot be looked at: {error}"]


def _at_lender(lab: Lab, name: str) -> Iterator[str]:
    vm = lab.vms.get(name)
    there: Commands = vm.shell if vm else lab.hosts[name]
    directory = DIRECTORY_IN_VM if vm else lab.state_dir / "lender" / name
    for file in there.run(["ls", str(directory)], ok=(0, 2)).stdout.split():
        if Path(file).suffix in (".img", ".json"):
            yield f"{file} is left"
    for iqn in _targets(lab, there, name):
        yield f"target {iqn} is left"


def _targets(lab: Lab, there: Commands, name: str) -> list[str]:
    if lab.spec.target == "lio":
        return [iqn for iqn in there.run(["ls", LIO_TARGETS], ok=(0, 2)).stdout.split() if lease_of(iqn)]
    return [target.iqn for target in shown_targets(there, control_port(lab.spec, name))]


def _at_borrower(vm: Vm) -> Iterator[str]:
    state = Lvm(vm.shell, udev=False).report()
    for pv in state.pvs:
        if pv.name != LOCAL_DISK:
            yield f"physical volume {pv.name} of {pv.vg or 'no group'} is left"
    for lv in state.lvs:
        if lv.full_name != VOLUME:
            yield f"logical volume {lv.full_name} is left"
            continue
        if lv.segtype != "linear" or lv.moves or set(lv.pvs) != {LOCAL_DISK}:
            yield f"{VOLUME} is {lv.segtype} on {sorted(lv.pvs)}, not linear at home"
        if tags := sorted(tag for tag in lv.tags if tag.startswith("ramshare.")):
            yield f"{VOLUME} still has tags {tags}"
    for debris in state.debris:
        yield f"{debris} is left of a conversion"
    yield from _in_kernel(vm)


def _in_kernel(vm: Vm) -> Iterator[str]:
    script = (
        "ls /sys/class/iscsi_session; ls -d /etc/iscsi/nodes/*/ 2>/dev/null;"
        " for d in /sys/block/dm-*/dm; do echo $(cat $d/name) $(cat $d/suspended); done; cut -d ' ' -f 1 /proc/swaps"
    )
    out = vm.shell.run(["sh", "-c", script]).stdout.splitlines()
    swapping = False
    for line in out:
        if line.startswith("session"):
            yield f"iSCSI {line} is left"
        elif line.startswith("/etc/iscsi/nodes/"):
            yield f"node record {Path(line).name} is left"
        elif line.endswith(" 1"):
            yield f"{line.split()[0]} is suspended"
        elif line.endswith(" 0") and line.split()[0] != VOLUME.replace("/", "-"):
            yield f"device {line.split()[0]} is left"
        swapping = swapping or line.startswith("/dev/")
    if not swapping:
        yield "nothing is swapped to any more"
