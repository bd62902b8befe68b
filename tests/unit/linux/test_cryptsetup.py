"""The encrypted device over a leased disk: its key is random, travels by standard input and is kept nowhere."""

import base64
import logging

import pytest

from kit.fakes import FakeRunner
from ramshare.linux.crypt_names import mapper_of
from ramshare.linux.cryptsetup import Cryptsetup
from ramshare.linux.run import CommandError

pytestmark = pytest.mark.unit

OPEN: tuple[str, ...] = ("cryptsetup", "open", "--batch-mode", "--type", "plain", "--cipher", "aes-xts-plain64")
OPEN = (*OPEN, "--key-size", "512", "--hash", "sha512", "--allow-discards", "/dev/sdb", "ramshare-l1")


def crypt(runner: FakeRunner, *existing: str) -> Cryptsetup:
    return Cryptsetup(runner, exists=lambda name: name in existing)


def test_a_disk_gets_a_device_under_a_key_that_no_command_line_and_no_log_holds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    runner = FakeRunner().on(*OPEN)
    for _ in range(2):
        crypt(runner).open("l1", "/dev/sdb")
    first, second = runner.stdins
    assert first != second
    assert len(base64.b64decode(first)) == 64
    assert not runner.said(first)
    assert first not in caplog.text
    assert mapper_of("l1") == "/dev/mapper/ramshare-l1"


def test_what_is_left_over_another_disk_goes_first_and_where_that_is_in_use_nothing_is_opened() -> None:
    runner = FakeRunner().on("dmsetup", "remove", "--retry", "ramshare-l1").on(*OPEN)
    crypt(runner, "ramshare-l1").open("l1", "/dev/sdb")
    assert [call[0] for call in runner.calls] == ["dmsetup", "cryptsetup"]
    busy = FakeRunner().on("dmsetup", ..., returncode=1, stderr="Device or resource busy")
    with pytest.raises(CommandError, match="busy"):
        crypt(busy, "ramshare-l1").open("l1", "/dev/sdb")


def test_one_in_use_can_be_left_to_the_kernel_and_none_takes_no_process() -> None:
    runner = FakeRunner().on("dmsetup", "remove", "--deferred", "ramshare-l1")
    crypt(runner, "ramshare-l1").close("l1", when_unused=True)
    crypt(runner, "ramshare-l2").close("l1")
    assert len(runner.calls) == 1
