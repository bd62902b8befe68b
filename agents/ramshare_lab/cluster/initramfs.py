"""The tiny first root of every lab VM: load the drivers, mount this machine's own `/` read-only, hand over.

The machine's root comes over virtio-9p as the lower layer of an overlay whose upper layer is the VM's memory, so the
project, its Python and every tool are there already and nothing a VM does reaches the real files. Not compressed: under
emulation, unpacking costs more than loading.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path

from ramshare.errors import MissingPartError
from ramshare.linux.run import Runner, find_tool, require_tools
from ramshare_lab.cluster.kernel import Kernel, load_order, locked

NIC = "e1000e"
"""The VMs' network card, for QEMU and for Linux the same name: an Intel 82574, as a host could have. Behind virtio_net
a VM twice heard nothing any more, in some fifty swap storms; not reproduced, so the cause is open. Its driver switches
reception off while it waits for memory; this one drops the packet."""
BOOT_MODULES = ("virtio_pci", "virtio_blk", NIC, "virtio_balloon", "9p", "9pnet_virtio", "overlay")
"""What the first root loads for everyone."""

BORROWER_MODULES = (
    *("crc32c_generic", "dm_mod", "dm_mirror", "dm_raid", "raid1", "sd_mod", "iscsi_tcp", "loop"),
    *("dm_crypt", "xts", "ecb", "aes_generic"),
)
"""What it loads for a borrower: LVM's move and mirror, iSCSI and its disks, swap's queue, encryption. From here it
takes a third of the time that `modprobe` over 9p takes. No udev runs, so nothing is loaded on demand; dm-raid asks for
`crc32c_generic`."""

RAM_DISK_MODULE = "brd"
"""The RAM disk of the ceiling, loaded with the size that `ramshare.ceiling_kib` names."""

APPLETS = ("sh", "mount", "mkdir", "insmod", "ip", "switch_root", "poweroff")

P9_TAG = "machine"
"""Name of the 9p share that carries the machine's `/`."""

UPPER_SIZE = "48m"
"""Most that a VM may write to its overlay, unless `ramshare.upper` says otherwise; memory is taken when written."""

INIT = f"""#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
read -r cmdline < /proc/cmdline
word() {{ for item in $cmdline; do case $item in "ramshare.$1="*) echo "${{item#*=}}" ;; esac; done; }}
load() {{ while read -r module; do insmod "/modules/$module" || echo "ramshare: no $module"; done < "/$1.order"; }}
load boot
if [ "$(word role)" = probe ]; then echo ramshare-alive > /dev/ttyS0; poweroff -f; fi
address=$(word ip)
init=$(word init)
ip link set lo up
if [ -n "$address" ]; then
    ip link set eth0 mtu "$(word mtu)"
    ip addr add "$address" dev eth0
    ip link set eth0 up
fi
if [ "$(word role)" = borrower ]; then load borrower; fi
ceiling_kib=$(word ceiling_kib)
if [ "${{ceiling_kib:-0}}" -gt 0 ]; then insmod /modules/{RAM_DISK_MODULE}.ko rd_nr=1 "rd_size=$ceiling_kib"; fi
mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=262144,ro {P9_TAG} /lower
upper=$(word upper)
mount -t tmpfs -o "size=${{upper:-{UPPER_SIZE}}},mode=755" upper /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work root /root
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
exec switch_root /root /bin/sh "$init"
"""
"""Reads `ramshare.WORD=VALUE` from the kernel command line; `role=probe` only says that this accelerator works."""

DIRECTORIES = ("bin", "modules", "proc", "sys", "dev", "lower", "upper", "root")


def ensure_initramfs(run: Runner, kernel: Kernel, cache: Path) -> Path:
    """Return the initramfs for `kernel`, making it the first time. Its name carries a digest of what went into it.

    Raises `MissingPartError` when there is no static busybox.
    """
    require_tools(["busybox", "cpio"])
    busybox = Path(find_tool("busybox") or "busybox").resolve()
    boot = load_order(kernel.modules, BOOT_MODULES)
    borrower = [path for path in load_order(kernel.modules, BORROWER_MODULES) if path not in boot]
    later = load_order(kernel.modules, [RAM_DISK_MODULE])
    digest = hashlib.sha256(busybox.read_bytes())
    for part in (INIT, kernel.version, *APPLETS, *DIRECTORIES, *map(str, boot), "borrower", *map(str, borrower)):
        digest.update(part.encode() + b"\0")
    image = cache / f"initramfs-{digest.hexdigest()[:16]}.cpio"
    with locked(cache):
        if image.exists():
            return image
        if _is_dynamic(busybox):
            raise MissingPartError("busybox is not the static one", "apt-get install busybox-static")
        with tempfile.TemporaryDirectory(dir=cache, prefix=".initramfs-") as work:
            root = Path(work) / "root"
            _fill(root, busybox, {"boot": boot, "borrower": borrower, "later": later})
            _pack(run, root, Path(work) / "image")
            (Path(work) / "image").rename(image)
    return image


def _is_dynamic(program: Path) -> bool:
    return b"/ld-linux" in program.read_bytes()


def _fill(root: Path, busybox: Path, orders: dict[str, list[Path]]) -> None:
    for name in DIRECTORIES:
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    for order, modules in orders.items():
        for module in modules:
            shutil.copy(module, root / "modules" / module.name)
        (root / f"{order}.order").write_text("".join(f"{module.name}\n" for module in modules))
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)


def _pack(run: Runner, root: Path, image: Path) -> None:
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    run.run(
        ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "-D", str(root), "-F", str(image)],
        stdin="".join(f"{name}\n" for name in names),
    )
