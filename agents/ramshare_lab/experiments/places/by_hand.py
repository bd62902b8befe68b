"""What a person would set up by hand instead of ramshare: the volume moved onto nbd or NVMe over TCP.

No agent takes part: nobody is asked, nothing comes home by itself, and who reaches the port reads and writes the pages.
"""

import contextlib
import time
from collections.abc import Iterator

from ramshare.errors import MissingPartError
from ramshare.linux.run import find_tool
from ramshare_lab.cluster.spec import address_of
from ramshare_lab.experiments.demo.run import Run

NBD_PORT, NVME_PORT = 10809, 4420
ROOM_BYTES = 8 << 20
"""Besides the pages: LVM's header."""
UP_WITHIN_S = 30.0

_NVME_TARGET = """set -e
modprobe nvmet; modprobe nvmet_tcp
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
mkdir -p /run/nvme && mount -t tmpfs -o size=100% nvme /run/nvme
dd if=/dev/zero of=/run/nvme/image bs=1M count={mib} status=none
cd /sys/kernel/config/nvmet
mkdir subsystems/swap && echo 1 > subsystems/swap/attr_allow_any_host
mkdir subsystems/swap/namespaces/1
echo -n /run/nvme/image > subsystems/swap/namespaces/1/device_path
echo 1 > subsystems/swap/namespaces/1/buffered_io
echo 1 > subsystems/swap/namespaces/1/enable
mkdir ports/1
echo tcp > ports/1/addr_trtype; echo ipv4 > ports/1/addr_adrfam
echo {address} > ports/1/addr_traddr; echo {port} > ports/1/addr_trsvcid
ln -s /sys/kernel/config/nvmet/subsystems/swap ports/1/subsystems/swap
"""
"""A file in memory needs `buffered_io`: tmpfs knows no direct I/O before Linux 6.6."""
_NVME_CONNECT = """set -e
modprobe nvme-tcp
echo "transport=tcp,traddr={address},trsvcid={port},nqn=swap" > /dev/nvme-fabrics
"""


@contextlib.contextmanager
def nbd(run: Run) -> Iterator[list[str]]:
    """Serve the volume's size from the lenders' memory by nbdkit, a share each; yield the borrower's disks."""
    if find_tool("nbdkit") is None or find_tool("nbd-client") is None:
        raise MissingPartError("nbd is measured with nbdkit and nbd-client", "apt-get install nbdkit nbd-client")
    lab, shell = run.lab, run.lab.borrower.shell
    names = lab.spec.lender_names
    share_bytes = lab.spec.swap_bytes // len(names) + ROOM_BYTES
    shell.run(["modprobe", "nbd"])
    devices = []
    with contextlib.ExitStack() as stack:
        for number, name in enumerate(names):
            argv = ["nbdkit", "--foreground", f"--port={NBD_PORT}", "memory", f"size={share_bytes}"]
            if name in lab.vms:
                stack.enter_context(lab.vms[name].shell.open(argv, stdin=False))
            else:
                server = lab.hosts[name].spawn(argv, die_with_parent=True)
                stack.callback(server.wait, 10.0)
                stack.callback(server.kill)  # asked to end, it would wait for its clients
            device = f"/dev/nbd{number}"
            connect = f"nbd-client {address_of(name)} {NBD_PORT} {device} -swap"
            _repeat(run, f"for i in $(seq {UP_WITHIN_S:g}); do {connect} && exit 0; sleep 1; done; exit 1")
            stack.callback(shell.run, ["nbd-client", "-d", device], ok=(0, 1))
            devices.append(device)
        yield devices


@contextlib.contextmanager
def nvme_tcp(run: Run) -> Iterator[list[str]]:
    """Serve the volume's size from the memory of one lender, a virtual machine, by nvmet; yield the borrower's disk."""
    (name,) = run.lab.spec.vm_lender_names
    mib = (run.lab.spec.swap_bytes + ROOM_BYTES) >> 20
    about = {"address": address_of(name), "port": NVME_PORT, "mib": mib}
    run.lab.vms[name].shell.run(["sh", "-c", _NVME_TARGET.format(**about)], timeout_s=120.0)
    shell = run.lab.borrower.shell
    shell.run(["sh", "-c", _NVME_CONNECT.format(**about)], timeout_s=60.0)
    device = "/dev/nvme0n1"
    deadline = time.monotonic() + UP_WITHIN_S
    while shell.run(["test", "-b", device], ok=(0, 1)).returncode:
        if time.monotonic() > deadline:
            raise MissingPartError(f"{device} did not appear", "dmesg in the borrower's virtual machine says why")
        time.sleep(0.5)
    yield [device]


def _repeat(run: Run, script: str) -> None:
    run.lab.borrower.shell.run(["sh", "-c", script], timeout_s=UP_WITHIN_S + 30.0)
