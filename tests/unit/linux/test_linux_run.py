"""The command runner: what it accepts, what it reports, what it hides."""

import logging
from pathlib import Path

import pytest

from kit.fakes import FakeRunner, UnexpectedCommandError
from ramshare.errors import MissingPartError
from ramshare.linux.run import CommandError, Completed, SystemRunner, find_tool, in_one_line, require_tools, shown

pytestmark = pytest.mark.unit


def test_output_and_status_come_back() -> None:
    done = SystemRunner().run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin="hello", ok=(0, 3))
    assert (done.stdout, done.stderr, done.returncode) == ("hello", "oops\n", 3)


def test_a_status_that_nobody_accepted_is_an_error_with_a_line_to_paste() -> None:
    with pytest.raises(CommandError, match="exit status 4") as caught:
        SystemRunner().run(["sh", "-c", "echo no luck >&2; exit 4"])
    assert "sh -c 'echo no luck >&2; exit 4'" in caught.value.message
    assert caught.value.message.endswith("no luck")
    assert caught.value.done.returncode == 4


def test_the_whole_cause_of_a_failure_is_kept_and_each_line_once() -> None:
    says = "printf '  Insufficient free space\\n  Retrying\\n  Retrying\\n  Failed to convert\\n' >&2; exit 5"
    with pytest.raises(CommandError) as caught:
        SystemRunner().run(["sh", "-c", says])
    assert caught.value.message.endswith(": Insufficient free space; Retrying; Failed to convert")


def test_a_very_long_cause_keeps_its_beginning_and_its_end() -> None:
    said = in_one_line("\n".join(["first", *(f"line {number}" for number in range(2000)), "last"]))
    assert said.startswith("first; line 0;")
    assert said.endswith("; last")
    assert len(said) < 3100


def test_a_command_that_takes_too_long_is_an_error_with_what_it_had_said() -> None:
    with pytest.raises(CommandError, match=r"no end after 0\.5 s: .*: waiting for the disk"):
        SystemRunner().run(["sh", "-c", "echo waiting for the disk >&2; exec sleep 5"], timeout_s=0.5)


def test_bytes_that_are_no_text_do_not_stop_anybody() -> None:
    assert SystemRunner().run(["printf", r"a\377b"]).stdout == r"a\xffb"


def test_a_long_command_line_does_not_push_the_cause_out() -> None:
    error = CommandError(Completed(("lvm",), 5, stderr="no space"), "exit status 5", "lvm " + "x" * 5000)
    assert error.message.endswith(" …: no space")
    assert len(error.message) < 400


def test_what_only_pins_lvms_output_is_not_shown() -> None:
    assert shown(["lvchange", "--config", "report/prefixes=0", "--addtag", "a", "vg0/swap"]) == (
        "lvchange --addtag a vg0/swap"
    )
    assert shown(["other", "--config", "file"]) == "other --config file"


def test_a_missing_tool_names_its_package() -> None:
    with pytest.raises(MissingPartError, match="apt-get install"):
        require_tools(["tgtadm-that-nobody-has"])
    with pytest.raises(MissingPartError, match="no-such-tool"):
        SystemRunner().run(["no-such-tool"])


def test_tools_are_found_in_system_directories_whatever_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_tool("sh") is not None


def test_secrets_reach_neither_errors_nor_logs_nor_results(caplog: pytest.LogCaptureFixture) -> None:
    secret = "it's a secret"
    with caplog.at_level(logging.DEBUG), pytest.raises(CommandError) as caught:
        SystemRunner().run(["sh", "-c", 'echo "$0"; echo "$0" >&2; exit 1', secret], secrets=[secret])
    texts = [str(caught.value), caught.value.done.stdout, caught.value.done.stderr, caplog.text]
    assert not any("a secret" in text for text in texts)
    assert all("***" in text for text in texts)


def test_commands_run_in_the_c_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert SystemRunner().run(["sh", "-c", "echo $LC_ALL"]).stdout == "C\n"


def test_a_prefix_stands_before_every_command() -> None:
    assert SystemRunner(["env", "WHERE=there"]).run(["sh", "-c", "echo $WHERE"]).stdout == "there\n"


def test_a_spawned_process_logs_to_its_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = SystemRunner().spawn(["sh", "-c", "echo $WORD"], log_path=log, env={"WORD": "hello"})
    assert process.wait(10) == 0
    assert log.read_text() == "hello\n"


def test_shown_can_be_pasted_into_a_shell() -> None:
    assert shown(["echo", "two words", "plain"]) == "echo 'two words' plain"


def test_the_fake_rejects_what_it_was_not_told() -> None:
    runner = FakeRunner().on("lvs", stdout="fine").on("lvs", "-a", stdout="once", times=1)
    assert runner.run(["lvs", "-a"]).stdout == "once"
    with pytest.raises(UnexpectedCommandError, match="lvs -a"):
        runner.run(["lvs", "-a"])
    assert runner.run(["lvs"]).stdout == "fine"
    assert runner.calls == [("lvs", "-a"), ("lvs",)]
