"""Leased disks: one lease is always the same disk, two are never one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.linux.disk_identity import NAA_PREFIX, SERIAL_CHARACTERS, disk_id, serial_number, target_number
from ramshare.messages.names import target_of

pytestmark = pytest.mark.unit
hosts = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
leases = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
targets = st.builds(target_of, hosts, leases)


@given(targets)
def test_an_id_is_the_32_digits_that_tgtd_makes_the_naa_of_unchanged(iqn: str) -> None:
    found = disk_id(iqn)
    assert (len(found), found.startswith(NAA_PREFIX), set(found) <= set(string.hexdigits)) == (32, True, True)
    assert found[0] == "6"
    assert int(found[1:3], 16) & 0b11 == 0b10, "a number that no company has: local, of one and not of a group"
    assert 0 < target_number(iqn) < 1 << 28


@given(st.lists(targets, unique=True, min_size=2, max_size=20))
def test_no_two_leases_have_one_id_not_even_where_only_letters_beyond_f_differ(iqns: list[str]) -> None:
    assert len({disk_id(iqn) for iqn in iqns}) == len(iqns)
    assert disk_id(target_of("hosta", "lx-1")) != disk_id(target_of("hosta", "lz-1"))


@given(leases)
def test_a_serial_number_is_the_lease_where_it_fits(lease: str) -> None:
    serial = serial_number(lease, target_of("hosta", lease))
    assert len(serial) <= SERIAL_CHARACTERS
    assert serial == (lease if len(lease) <= SERIAL_CHARACTERS else disk_id(target_of("hosta", lease)))
