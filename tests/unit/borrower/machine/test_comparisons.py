"""What was measured of leases is remembered by this run."""

import pytest

from ramshare.borrower.machine.comparisons import REMEMBERED, Comparisons
from ramshare.borrower.plan.comparison import Comparison
from ramshare.errors import RamshareError

pytestmark = pytest.mark.unit


class Disks:
    """How long a read from each device takes; None: it fails."""

    def __init__(self, **times_s: float | None) -> None:
        self.times_s = {"/dev/vg0/swap": 0.02, "/dev/mapper/ramshare-l1": 0.001, **times_s}

    def __call__(self, device: str) -> list[float]:
        found = self.times_s[device]
        if found is None:
            raise RamshareError(f"cannot read {device}")
        return [found] * 4


def test_the_volumes_own_device_is_compared_with_the_leases_disk() -> None:
    comparisons = Comparisons(Disks())
    comparisons.make("vg0/swap", "l1", "/dev/mapper/ramshare-l1")
    assert comparisons.of("l1") == Comparison(0.001, 0.02)
    assert comparisons.of("l2") is None


def test_a_lease_that_fails_is_found_out_and_a_local_disk_that_fails_is_an_error() -> None:
    comparisons = Comparisons(Disks(**{"/dev/mapper/ramshare-l1": None}))
    comparisons.make("vg0/swap", "l1", "/dev/mapper/ramshare-l1")
    found = comparisons.of("l1")
    assert found is not None
    assert not found.helps
    with pytest.raises(RamshareError, match="cannot read /dev/vg0/swap"):
        Comparisons(Disks(**{"/dev/vg0/swap": None})).make("vg0/swap", "l1", "/dev/mapper/ramshare-l1")


def test_a_disk_that_answers_a_burst_at_once_is_judged_by_what_a_storm_pays_and_a_lease_by_what_is_usual() -> None:
    times_s = {"/dev/vg0/swap": [0.0] * 12 + [0.008] * 4, "/dev/sda": [0.0005] * 15 + [0.2]}
    comparisons = Comparisons(lambda device: times_s[device])
    comparisons.make("vg0/swap", "l1", "/dev/sda")
    assert comparisons.of("l1") == Comparison(0.0005, 0.002)


def test_memory_of_them_is_bounded() -> None:
    comparisons = Comparisons(lambda _device: [1.0])
    for number in range(REMEMBERED + 5):
        comparisons.make("vg0/swap", f"l{number}", "/dev/sda")
    assert comparisons.of("l4") is None
    assert comparisons.of(f"l{REMEMBERED + 4}") is not None
