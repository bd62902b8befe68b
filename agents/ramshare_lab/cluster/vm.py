"""A virtual machine of the lab: from a frozen `VmSpec` to a QEMU command line, and its life.

The command line is a pure function of the spec. The VM's local disk is throttled to a hard disk of the paper's time, so
that ratios mean something under emulation too.
"""

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare.linux.run import Runner
from ramshare_lab.cluster import qmp
from ramshare_lab.cluster.accel import accel_arguments
from ramshare_lab.cluster.initramfs import NIC, P9_TAG
from ramshare_lab.cluster.kernel import Kernel
from ramshare_lab.cluster.remote import RemoteShell

MIB = 1024 * 1024
LAB_DIR = Path(__file__).resolve().parent

DISK_IOPS = 120
"""I/O operations per second of a 7200 rpm hard disk: 8.3 ms for a seek and half a turn."""
DISK_BYTES_PER_S = 100_000_000
"""Sequential transfer of such a disk."""

BORROWER_BASE_BYTES = 320 * MIB
"""Memory of a borrower's host without its RAM disk: about 256 MB stay usable after kernel text and tables."""
GUEST_MEMORY_BYTES = 256 * MIB

READY_TIMEOUT_S = 240.0
KERNEL_WORDS = (
    "console=ttyS0 loglevel=4 panic=1 mitigations=off psi=1 nokaslr audit=0 apparmor=0 no_timer_check"
    " transparent_hugepage=never init_on_alloc=0"
)
"""For every VM. With huge pages the kernel keeps 43 MB free by itself (min_free_kbytes), a sixth of such a host.
Zeroing each page once more when it is allocated (Debian's default) slows the emulated network down."""

STATE_TAG = "state"


class VmError(RamshareError):
    """A VM did not start, or ended by itself."""


@dataclass(frozen=True)
class DiskSpec:
    """A sparse raw file behind a modelled hard disk; no limit where a figure is 0."""

    path: Path
    size_bytes: int
    iops: int = DISK_IOPS
    bytes_per_s: int = DISK_BYTES_PER_S


@dataclass(frozen=True)
class VmSpec:
    """Everything that tells one VM from another."""

    lab: str
    name: str
    role: str
    """`borrower` or `guest`; see `vm_init.sh`."""
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
    return [*argv, *spec.tuning]


def disk_arguments(disk: DiskSpec) -> list[str]:
    """Return QEMU's arguments for the modelled local disk."""
    drive = f"file={disk.path},if=none,id=local,format=raw,cache=unsafe,discard=unmap"
    if disk.iops:
        drive += f",throttling.iops-total={disk.iops}"
    if disk.bytes_per_s:
        drive += f",throttling.bps-total={disk.bytes_per_s}"
    return ["-drive", drive, "-device", "virtio-blk-pci,drive=local"]


class Vm:
    """A VM that runs: its shell, its power button and its balloon."""

    def __init__(self, spec: VmSpec, argv: list[str], runner: Runner) -> None:
        self.spec = spec
        self.shell = RemoteShell(spec.address)
        self._argv = argv
        self._runner = runner
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """QEMU's process id."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Make the disk if there is none and start QEMU; returns at once."""
        self._make_room()
        self._process = self._runner.spawn(self._argv, log_path=self.spec.state_dir / "qemu.log")

    def running(self) -> bool:
        """Return whether the machine is on, whatever its kernel does."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> float:
        """Wait until the VM takes commands and return the seconds that took.

        Raises `VmError` with the last lines of its console when it ends or stays silent.
        """
        started = time.monotonic()
        while time.monotonic() - started < timeout_s:
            if not self.running():
                raise VmError(f"QEMU for {self.spec.name} has ended: {self._tail()}", f"see {self.spec.state_dir}")
            if self.shell.alive(timeout_s=1.0):
                return time.monotonic() - started
            time.sleep(0.1)
        raise VmError(f"{self.spec.name} did not come up within {timeout_s:g} s: {self._tail()}")

    def reset(self) -> None:
        """Press the reset button: memory is lost, the local disk and `/var/lib/ramshare` stay."""
        qmp.execute(self.spec.qmp_socket, "system_reset")

    def balloon(self, target_bytes: int) -> None:
        """Ask the VM's balloon to leave it `target_bytes`; it gets there by and by."""
        qmp.execute(self.spec.qmp_socket, "balloon", {"value": target_bytes})

    def balloon_actual_bytes(self) -> int:
        """Return how much memory the VM has with its balloon as it is now."""
        return int(qmp.execute(self.spec.qmp_socket, "query-balloon")["actual"])

    def stop(self, timeout_s: float = 5.0) -> None:
        """Switch the VM off like a pulled plug."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout_s)
        self._process = None

    def _make_room(self) -> None:
        self.spec.persist_dir.mkdir(parents=True, exist_ok=True)
        if self.spec.disk is not None and not self.spec.disk.path.exists():
            with self.spec.disk.path.open("wb") as disk:
                disk.truncate(self.spec.disk.size_bytes)

    def _tail(self) -> str:
        lines: list[str] = []
        for path in (self.spec.state_dir / "qemu.log", self.spec.console_log):
            if path.exists():
                lines += path.read_text(errors="replace").splitlines()[-3:]
        return " | ".join(lines)


def forget_disk(spec: VmSpec) -> None:
    """Remove what the VM kept: its disk and its persistent directory."""
    if spec.disk is not None:
        spec.disk.path.unlink(missing_ok=True)
    shutil.rmtree(spec.persist_dir, ignore_errors=True)
