"""What a person would set up by hand instead of ramshare: the volume moved onto nbd.

No agent takes part: nobody is asked, nothing comes home by itself, and who reaches the port reads and writes the pages.
"""

import contextlib
from collections.abc import Iterator

from ramshare.errors import MissingPartError
from ramshare.linux.run import find_tool
from ramshare_lab.cluster.spec import address_of
from ramshare_lab.experiments.demo.run import Run

NBD_PORT = 10809
ROOM_BYTES = 8 << 20
"""Besides the pages: LVM's header."""
UP_WITHIN_S = 30.0


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


def _repeat(run: Run, script: str) -> None:
    run.lab.borrower.shell.run(["sh", "-c", script], timeout_s=UP_WITHIN_S + 30.0)
