"""A VM's spec becomes exactly one QEMU command line."""

from dataclasses import replace
from pathlib import Path

import pytest

from ramshare_lab.cluster.kernel import Kernel
from ramshare_lab.cluster.spec import LabSpec, LabSpecError, address_of, mac_of
from ramshare_lab.cluster.vm_spec import MIB, DiskSpec, VmSpec, kernel_command_line, qemu_argv

pytestmark = pytest.mark.unit

KERNEL = Kernel("6.1.0-1-amd64", Path("/cache/linux-image-6.1.0-1-amd64"))
SPEC = VmSpec(
    lab="demo",
    name="hostx",
    role="borrower",
    state_dir=Path("/state/hostx"),
    address="10.77.0.21",
    prefix_length=24,
    mac="52:54:00:4d:00:15",
    tap="t-hostx",
    mtu=9000,
    memory_bytes=320 * MIB,
    disk=DiskSpec(Path("/disks/hostx.raw"), 664 * MIB),
    swap_bytes=600 * MIB,
    ceiling_bytes=640 * MIB,
)


def argv_of(spec: VmSpec = SPEC, accel: str = "tcg") -> list[str]:
    return qemu_argv(spec, KERNEL, Path("/cache/initramfs.cpio"), accel, python="/venv/bin/python")


def after(argv: list[str], option: str) -> list[str]:
    return [argv[index + 1] for index, word in enumerate(argv) if word == option]


def test_the_ram_disk_comes_on_top_of_the_hosts_memory() -> None:
    assert after(argv_of(), "-m") == ["960M"]
    assert after(argv_of(replace(SPEC, ceiling_bytes=0)), "-m") == ["320M"]


def test_the_local_disk_is_throttled_to_a_hard_disk() -> None:
    assert after(argv_of(), "-drive") == [
        "file=/disks/hostx.raw,if=none,id=local,format=raw,cache=unsafe,discard=unmap,"
        "throttling.iops-total=120,throttling.bps-total=100000000"
    ]


def test_a_limit_of_zero_means_no_limit_and_no_disk_means_no_drive() -> None:
    free = DiskSpec(Path("/d"), MIB, iops=0, bytes_per_s=0)
    assert "throttling" not in after(argv_of(replace(SPEC, disk=free)), "-drive")[0]
    assert "-drive" not in argv_of(replace(SPEC, disk=None))


def test_the_machines_root_is_shared_read_only_and_only_the_state_directory_can_be_written() -> None:
    shares = after(argv_of(), "-fsdev")
    assert [("readonly=on" in share, share.split(",")[2]) for share in shares] == [
        (True, "path=/"),
        (False, "path=/state/hostx/persist"),
    ]


def test_emulation_never_copies_by_rep_movsb() -> None:
    argv = argv_of()
    assert after(argv, "-accel")[0].startswith("tcg,thread=multi")
    assert after(argv, "-cpu") == ["max,-erms,-fsrm"]


def test_kvm_passes_the_machines_own_cpu() -> None:
    argv = argv_of(accel="kvm")
    assert after(argv, "-accel") == ["kvm"] and after(argv, "-cpu") == ["host"]


def test_the_kernel_command_line_tells_the_vm_who_it_is() -> None:
    words = kernel_command_line(SPEC, KERNEL, "/venv/bin/python").split()
    assert {"psi=1", "mitigations=off", "transparent_hugepage=never"} <= set(words)
    assert {
        "ramshare.role=borrower",
        "ramshare.name=hostx",
        "ramshare.ip=10.77.0.21/24",
        "ramshare.mtu=9000",
        "ramshare.swap_kib=614400",
        "ramshare.ceiling_kib=655360",
        "ramshare.tree=/cache/linux-image-6.1.0-1-amd64",
    } <= set(words)


def test_measurements_can_add_qemu_arguments_and_kernel_words() -> None:
    spec = replace(SPEC, tuning=("-d", "int"), append="idle=poll", net_options=",packed=on")
    argv = argv_of(spec)
    assert argv[-2:] == ["-d", "int"]
    assert after(argv, "-append")[0].endswith(" idle=poll")
    assert any(word.startswith("e1000e") and word.endswith("packed=on") for word in argv)


def test_no_two_machines_of_a_lab_share_an_address() -> None:
    spec = LabSpec(lenders=6, borrowers=3, guests=4)
    names = [*spec.lender_names, *spec.borrower_names, *spec.guest_names]
    assert len({address_of(name) for name in names}) == len({mac_of(name) for name in names}) == 13


@pytest.mark.parametrize(
    "bad",
    [{"name": "Has Space"}, {"name": ""}, {"name": "x" * 13}, {"lenders": 7}, {"guests": -1}, {"lenders": 0}],
)
def test_a_lab_that_cannot_be_built_is_refused_before_anything_starts(bad: dict[str, object]) -> None:
    with pytest.raises(LabSpecError):
        LabSpec(**bad)  # type: ignore[arg-type]


def test_every_agent_and_operator_has_an_account() -> None:
    clients = LabSpec(borrowers=2).clients
    agents = {"manager", "lender.hosta", "lender.hostb", "borrower.hostx", "borrower.hosty", "guest.web1"}
    assert agents <= set(clients) and {"cli.lab", "dashboard"} <= set(clients)
    assert len(set(clients)) == len(clients)
