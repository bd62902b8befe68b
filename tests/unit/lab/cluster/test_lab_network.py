"""Link faults become exactly the firewall rules that they name."""

import re

import pytest

from ramshare_lab.cluster.netns import Cut, ruleset

pytestmark = pytest.mark.unit

ADDRESSES = {"switch": "10.77.0.1", "hosta": "10.77.0.11", "hostx": "10.77.0.21"}


def rules_of(*cuts: Cut) -> list[str]:
    """The rules of one chain; both chains must hold the same."""
    text = ruleset(cuts, ADDRESSES)
    chains = re.findall(r"chain \w+ \{\n.*?policy accept;\n(.*?)\n \}", text, re.DOTALL)
    assert len(chains) == 2 and chains[0] == chains[1]
    return [line.strip() for line in chains[0].splitlines()]


def test_without_cuts_nothing_is_dropped() -> None:
    assert rules_of() == ["tcp sport 7777 accept", "tcp dport 7777 accept"]


def test_a_whole_link_is_cut_in_both_directions_but_for_the_command_channel() -> None:
    assert rules_of(Cut("hostx")) == [
        "tcp sport 7777 accept",
        "tcp dport 7777 accept",
        "ip saddr 10.77.0.21 drop",
        "ip daddr 10.77.0.21 drop",
    ]


def test_a_cut_between_two_hosts_names_both() -> None:
    assert rules_of(Cut("hosta", "switch"))[2:] == [
        "ip saddr 10.77.0.11 ip daddr 10.77.0.1 drop",
        "ip daddr 10.77.0.11 ip saddr 10.77.0.1 drop",
    ]


def test_a_cut_port_is_dropped_on_either_side() -> None:
    assert rules_of(Cut("hostx", "hosta", 3260))[2:] == [
        "ip saddr 10.77.0.21 ip daddr 10.77.0.11 tcp dport 3260 drop",
        "ip saddr 10.77.0.21 ip daddr 10.77.0.11 tcp sport 3260 drop",
        "ip daddr 10.77.0.21 ip saddr 10.77.0.11 tcp dport 3260 drop",
        "ip daddr 10.77.0.21 ip saddr 10.77.0.11 tcp sport 3260 drop",
    ]


def test_the_script_replaces_the_table_as_a_whole() -> None:
    first, second, third, *_ = ruleset([], ADDRESSES).splitlines()
    assert (first, second, third) == (
        "table bridge ramshare",
        "delete table bridge ramshare",
        "table bridge ramshare {",
    )
