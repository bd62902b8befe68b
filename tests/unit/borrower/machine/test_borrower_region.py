"""The write-intent regions of a mirror: the kernel refuses a size that is no power of two or larger than the volume."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.borrower.machine.executor import REGION_BYTES, region_bytes

pytestmark = pytest.mark.unit

MIB = 1 << 20


@given(volume_bytes=st.integers(min_value=1, max_value=1 << 45))
def test_a_region_is_a_power_of_two_that_fits_into_the_volume(volume_bytes: int) -> None:
    size_bytes = region_bytes(volume_bytes)
    assert size_bytes & (size_bytes - 1) == 0
    assert size_bytes <= min(volume_bytes, REGION_BYTES) < 2 * size_bytes or size_bytes == REGION_BYTES


@pytest.mark.parametrize(("volume_mib", "region_mib"), [(4, 4), (48, 32), (64, 64), (600, 64)])
def test_small_volumes_have_smaller_regions(volume_mib: int, region_mib: int) -> None:
    assert region_bytes(volume_mib * MIB) == region_mib * MIB
