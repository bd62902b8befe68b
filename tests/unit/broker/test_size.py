"""What brokers may use follows from the cluster that they are made for."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.broker.conf import Place, guests_conf, hosts_conf, unit_conf
from ramshare.broker.rights import NAMED_GUESTS, bridge_rights, bridged, role_rights
from ramshare.broker.size import (
    HOST_TOPICS,
    LEAST_DESCRIPTORS,
    LEAST_MEMORY_BYTES,
    MOST_GUESTS,
    MOST_HOSTS,
    TOPIC_BYTES,
    Size,
    SizeError,
)
from ramshare.topics import STATES

pytestmark = pytest.mark.unit
V1 = "ramshare/v1"
sizes = st.builds(Size, st.integers(0, MOST_HOSTS), st.integers(0, MOST_GUESTS))


@given(sizes)
def test_a_broker_can_hold_and_hand_out_all_that_its_cluster_says(size: Size) -> None:
    for broker in (size.hosts_broker, size.guests_broker):
        assert broker.queued_messages >= broker.topics
        assert broker.memory_bytes > broker.topics * TOPIC_BYTES
        assert broker.descriptors > 2 * broker.connections
        assert broker.resident_bytes > broker.memory_bytes


@given(sizes, st.integers(0, 1000), st.integers(0, 1000))
def test_a_larger_cluster_never_gets_less(size: Size, hosts: int, guests: int) -> None:
    larger = Size(size.hosts + hosts, size.guests + guests)
    for small, large in ((size.hosts_broker, larger.hosts_broker), (size.guests_broker, larger.guests_broker)):
        assert large.memory_bytes >= small.memory_bytes
        assert large.queued_messages >= small.queued_messages
        assert large.descriptors >= small.descriptors
        assert large.resident_bytes >= small.resident_bytes


def test_ten_thousand_hosts_with_ten_guests_each_fit_into_two_gigabytes() -> None:
    size = Size.parse("10000:100000")
    assert size.hosts_broker.memory_bytes < 2_000_000_000
    assert size.hosts_broker.queued_messages > 300_000
    assert size.hosts_broker.descriptors > 40_000
    assert not size.hosts_broker.is_default


def test_a_small_cluster_needs_no_more_than_the_shipped_unit_gives() -> None:
    size = Size(50, 500)
    assert size.hosts_broker.memory_bytes == LEAST_MEMORY_BYTES["hosts"]
    assert size.guests_broker.memory_bytes == LEAST_MEMORY_BYTES["guests"]
    assert size.hosts_broker.is_default
    assert size.guests_broker.is_default
    assert size.hosts_broker.descriptors == LEAST_DESCRIPTORS


def test_what_a_host_says_is_counted() -> None:
    fixed = [path for role in ("lender", "borrower") for path in STATES[role] if "+" not in path]
    assert len(fixed) + 1 < HOST_TOPICS, "and the manager's record of it, and room for what is lent"


@pytest.mark.parametrize("text", ["", "x", "-5", "10:", ":10", "1.5", "0", "10:20:30", "999999", "10:9999999", "1e3"])
def test_what_is_no_size_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(SizeError) as refused:
        Size.parse(text)
    assert refused.value.hint


def test_the_size_is_in_both_configurations_and_in_the_units_drop_ins() -> None:
    size, place = Size(10_000, 100_000), Place(PurePosixPath("/x"), PurePosixPath("/y"))
    hosts = hosts_conf(place, size).splitlines()
    assert f"memory_limit {size.hosts_broker.memory_bytes}" in hosts
    assert f"max_queued_messages {size.hosts_broker.queued_messages}" in hosts
    assert f"max_queued_bytes {size.hosts_broker.queued_bytes}" in hosts
    guests = guests_conf(place, ("10.0.0.1", 1), size, bridged(100_000)).splitlines()
    assert f"memory_limit {size.guests_broker.memory_bytes}" in guests
    assert f"LimitNOFILE={size.hosts_broker.descriptors}" in unit_conf(size.hosts_broker).splitlines()


def test_of_few_guests_the_bridge_speaks_for_each_by_name() -> None:
    few = [f"g{n}" for n in range(NAMED_GUESTS)]
    assert all("+" not in rule for rule in bridge_rights(few).write)
    said = {topic for topic, way in bridged(len(few)) if way == "out" and "/state/" in topic}
    assert said == {f"{V1}/state/+/status", f"{V1}/state/+/memory"}


def test_of_many_guests_one_rule_lets_it_report_memory_and_no_status() -> None:
    """A rule for each would cost the broker time with every report."""
    many = [f"g{n}" for n in range(NAMED_GUESTS + 1)]
    assert [rule for rule in bridge_rights(many).write if "/state/" in rule] == [f"{V1}/state/+/memory"]
    assert [topic for topic, _ in bridged(len(many)) if "/state/" in topic] == [f"{V1}/state/+/memory"]
    assert role_rights("borrower", many).write == (f"{V1}/reply/+/host",)
