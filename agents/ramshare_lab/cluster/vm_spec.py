"""What a virtual machine of the lab is: a frozen `VmSpec`, and the QEMU command line that follows from it. Pure.

The local disk is throttled to a hard disk of the paper's time, so that ratios mean something under emulation too.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from ramshare_lab.cluster.accel import accel_arguments
from ramshare_lab.cluster.initramfs import NIC, P9_TAG
from ramshare_lab.cluster.kernel import Kernel

MIB = 1024 * 1024
LAB_DIR = Path(__file__).resolve().parent

DISK_IOPS = 120
"""I/O operations per second of a 7200 rpm hard disk: 8.3 ms for a seek and half a turn."""
DISK_BYTES_PER_S = 100_000_000
"""Sequential transfer of such a disk."""

BORROWER_BASE_BYTES = 320 * MIB
"""Memory of a borrower's host without its RAM disk: about 256 MB stay usable after kernel text and tables."""
GUEST_MEMORY_BYTES = 256 * MIB
LENDER_BASE_BYTES = 288 * MIB
"""Memory of a lender's virtual machine besides what it lends."""

KERNEL_WORDS = (
    "console=ttyS0 loglevel=4 panic=1 mitigations=off psi=1 nokaslr audit=0 apparmor=0 no_timer_check"
    " transparent_hugepage=never init_on_alloc=0"
)
"""For every VM. With huge pages the kernel keeps 43 MB free by itself (min_free_kbytes), a sixth of such a host.
Zeroing each page once more when it is allocated (Debian's default) slows the emulated network down."""

STATE_TAG = "state"


@dataclass(frozen=True)
class DiskSpec:
    """A sparse raw file behind a modelled hard disk; no limit where a figure is 0."""

    path: Path
    size_bytes: int
    iops: int = DISK_IOPS
    bytes_per_s: int = DISK_BYTES_PER_S
    sector_bytes: int = 512
    """4096 for a disk that knows no smaller ones (4Kn)."""


@dataclass(frozen=True)
class VmSpec:
    """Everything that tells one VM from another."""

    lab: str
    name: str
    role: str
    """`borrower`, `lender` or `guest`; see `vm_init.sh`."""
    state_dir: Path
    """On this machine; its `persist` directory is `/var/lib/ramshare` inside and survives a reset."""
    address: str
    prefix_length: int
    mac: str
    tap: str
    mtu: int
    memory_bytes: int
    vcpus: int = 1
    disk: DiskSpec | None = None
    second_disk: DiskSpec | None = None
    """A disk that the lab makes nothing of. With a file `late_disk` in `persist_dir` a boot does not find it."""
    swap_bytes: int = 0
    ceiling_bytes: int = 0
    """Size of the RAM disk `/dev/ram0`; comes on top of `memory_bytes`."""
    rotational: bool = True
    """Whether the local disk and the swap volume call themselves rotating; frozen by the kernel at `swapon`."""
    swap_queue: bool = False
    """Swap through a loop device instead of directly to the volume."""
    tuning: tuple[str, ...] = ()
    """More QEMU arguments, for measurements."""
    net_options: str = ""
    append: str = ""
    """More words for the kernel command line."""

    @property
    def persist_dir(self) -> Path:
        """What the VM keeps across a reset, as seen from this machine."""
        return self.state_dir / "persist"

    @property
    def console_log(self) -> Path:
        """What the VM's kernel and init script print."""
        return self.state_dir / "console.log"

    @property
    def qmp_socket(self) -> Path:
        """QEMU's control socket."""
        return self.state_dir / "qmp.sock"


def kernel_command_line(spec: VmSpec, kernel: Kernel, python: str) -> str:
    """Return the VM's kernel command line; `ramshare.*` words are read by the initramfs and by `vm_init.sh`."""
    words = {
        "role": spec.role,
        "lab": spec.lab,
        "name": spec.name,
        "ip": f"{spec.address}/{spec.prefix_length}",
        "mtu": spec.mtu,
        "init": LAB_DIR / "vm_init.sh",
        "agent": LAB_DIR / "vmagent.py",
        "python": python,
        "tree": kernel.tree,
        "swap_kib": spec.swap_bytes // 1024,
        "ceiling_kib": spec.ceiling_bytes // 1024,
        "rotational": int(spec.rotational),
        "swap_queue": int(spec.swap_queue),
    }
    return " ".join([KERNEL_WORDS, *(f"ramshare.{key}={value}" for key, value in words.items()), *spec.append.split()])


def qemu_argv(spec: VmSpec, kernel: Kernel, initramfs: Path, accel: str, python: str = sys.executable) -> list[str]:
    """Return QEMU's argv for `spec`. Pure: nothing on this machine is looked at."""
    memory = (spec.memory_bytes + spec.ceiling_bytes) // MIB
    argv = ["qemu-system-x86_64", "-name", f"ramshare-{spec.lab}-{spec.name}", "-nodefaults", "-no-user-config"]
    argv += ["-display", "none", "-machine", "q35", *accel_arguments(accel)]
    argv += ["-smp", str(spec.vcpus), "-m", f"{memory}M"]
    argv += ["-kernel", str(kernel.image), "-initrd", str(initramfs)]
    argv += ["-append", kernel_command_line(spec, kernel, python)]
    argv += ["-serial", f"file:{spec.console_log}", "-qmp", f"unix:{spec.qmp_socket},server=on,wait=off"]
    argv += ["-fsdev", "local,id=machine,path=/,security_model=none,readonly=on,multidevs=remap"]
    argv += ["-device", f"virtio-9p-pci,fsdev=machine,mount_tag={P9_TAG}"]
    argv += ["-fsdev", f"local,id=state,path={spec.persist_dir},security_model=none"]
    argv += ["-device", f"virtio-9p-pci,fsdev=state,mount_tag={STATE_TAG}"]
    argv += ["-netdev", f"tap,id=net,ifname={spec.tap},script=no,downscript=no"]
    argv += ["-device", f"{NIC},netdev=net,mac={spec.mac},romfile=" + spec.net_options]
    argv += ["-device", "virtio-balloon-pci,deflate-on-oom=on"]
    if spec.disk is not None:
        argv += disk_arguments(spec.disk)
    if spec.second_disk is not None:
        argv += disk_arguments(spec.second_disk, "second")
    return [*argv, *spec.tuning]


def disk_arguments(disk: DiskSpec, name: str = "local") -> list[str]:
    """Return QEMU's arguments for a modelled local disk."""
    drive = f"file={disk.path},if=none,id={name},format=raw,cache=unsafe,discard=unmap"
    if disk.iops:
        drive += f",throttling.iops-total={disk.iops}"
    if disk.bytes_per_s:
        drive += f",throttling.bps-total={disk.bytes_per_s}"
    device = f"virtio-blk-pci,drive={name}"
    if disk.sector_bytes != 512:
        device += f",logical_block_size={disk.sector_bytes},physical_block_size={disk.sector_bytes}"
    return ["-drive", drive, "-device", device]
