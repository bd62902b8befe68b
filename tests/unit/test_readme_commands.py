"""README's commands as a test types them: each says where, and names files that are there."""

import re

import pytest

from kit.debian_root import FETCHED
from kit.readme import EVERYWHERE, PLACES, README, commands_for_small_machines, is_installer

pytestmark = pytest.mark.unit


def test_every_block_says_on_which_machine_it_is_typed() -> None:
    assert {block.where for block in commands_for_small_machines()} == {EVERYWHERE, *PLACES}


def test_every_file_of_the_checkout_that_is_installed_is_there() -> None:
    text = "".join(block.script for block in commands_for_small_machines())
    named = re.findall(r"agents/systemd/\S+", text)
    assert len(named) >= 7
    assert [name for name in named if not list(README.parent.glob(name))] == []


def test_every_package_is_one_that_the_clean_machines_can_be_given() -> None:
    lines = [
        line for block in commands_for_small_machines() for line in block.script.splitlines() if is_installer(line)
    ]
    named = {word for line in lines if line.startswith("apt-get ") for word in line.partition("#")[0].split()[2:]}
    assert named <= set(FETCHED)
