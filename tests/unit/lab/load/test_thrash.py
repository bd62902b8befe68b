"""The microbenchmark itself, for real with a few megabytes, and its driver over a scripted process."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ramshare.errors import MissingPartError, RamshareError
from ramshare.linux.run import CommandError, Completed, Runner, SystemRunner
from ramshare_lab.load.thrash import LocalProcess, Thrash, binary, command
from ramshare_lab.load.thrash_lines import Pattern, Progress, Ready, Result, ThrashError, parse_line

pytestmark = pytest.mark.unit

SIZE = 2 << 20
PAGES = SIZE // 4096


@pytest.fixture(scope="module")
def shared() -> Iterator[Thrash]:
    with Thrash.local(SIZE) as thrash:
        yield thrash


@pytest.fixture
def thrash(shared: Thrash) -> Thrash:
    shared.init()
    return shared


def test_init_writes_every_page_and_check_finds_them_sound(thrash: Thrash) -> None:
    done = thrash.init()
    assert (done.bytes, done.operations) == (SIZE, PAGES)
    checked = thrash.check()
    assert (checked.bytes, checked.bad_pages, checked.bad_pages_total) == (SIZE, 0, 0)


@pytest.mark.parametrize("block_bytes", [64, 192, 1024, 4096, 12288, 1 << 20])
@pytest.mark.parametrize("pattern", list(Pattern))
def test_every_pattern_leaves_sound_pages_at_every_block_size(
    thrash: Thrash, pattern: Pattern, block_bytes: int
) -> None:
    result = thrash.run(pattern, block_bytes=block_bytes, limit_bytes=SIZE * 2)
    assert SIZE * 2 <= result.bytes < SIZE * 2 + max(block_bytes, 4096)
    assert result.bytes // block_bytes - 1 <= result.operations <= result.bytes // block_bytes
    assert result.command == pattern and result.block_bytes == block_bytes
    assert (result.bad_pages, thrash.check().bad_pages) == (0, 0)


def test_a_run_ends_when_its_seconds_are_over(thrash: Thrash) -> None:
    seen: list[Progress] = []
    result = thrash.run(Pattern.RANDOM_READ, block_bytes=4096, seconds=0.6, on_progress=seen.append)
    assert 0.6 <= result.seconds < 3
    assert result.mb_s == pytest.approx(result.bytes / 1e6 / result.seconds, rel=1e-3)
    assert seen and 0.5 <= seen[0].seconds <= result.seconds


@pytest.mark.parametrize("kind", ["flip", "lost", "stale", "mixed", "sigbus"])
def test_a_damaged_page_is_counted_once_by_every_whole_page_reader(thrash: Thrash, kind: str) -> None:
    thrash.corrupt(5, kind)
    result = thrash.run(Pattern.SEQUENTIAL_READ, block_bytes=4096, limit_bytes=SIZE * 3)
    assert (result.bad_pages, result.bad_pages_total) == (1, 1)
    assert result.sigbus == (3 if kind == "sigbus" else 0)
    named = {"flip": "torn"}.get(kind, kind)
    assert {name: n for name, n in result.kinds.model_dump().items() if n} == {named: 1}
    assert thrash.check().bad_pages_total == 1


def test_reads_in_order_of_small_blocks_verify_whole_pages(thrash: Thrash) -> None:
    thrash.corrupt(7, "flip")
    assert thrash.run(Pattern.SEQUENTIAL_READ, block_bytes=256, limit_bytes=SIZE).bad_pages == 1


@pytest.mark.parametrize("kind", ["lost", "stale", "mixed"])
@pytest.mark.parametrize("pattern", [Pattern.RANDOM_READ, Pattern.RANDOM_WRITE, Pattern.SEQUENTIAL_WRITE])
def test_small_blocks_find_a_page_of_wrong_identity(thrash: Thrash, pattern: Pattern, kind: str) -> None:
    for page in range(0, PAGES, 2):
        thrash.corrupt(page, kind)
    assert thrash.run(pattern, block_bytes=512, limit_bytes=SIZE).bad_pages > PAGES // 4


def test_a_partial_write_does_not_hide_damage_elsewhere_in_the_page(thrash: Thrash) -> None:
    for page in range(PAGES):
        thrash.corrupt(page, "flip")  # damages the page's last word
    thrash.run(Pattern.SEQUENTIAL_WRITE, block_bytes=64, limit_bytes=4096 - 64)
    assert thrash.check().kinds.torn == PAGES


def test_a_storm_goes_on_until_stopped_and_counts_bad_pages(thrash: Thrash) -> None:
    thrash.corrupt(1, "stale")
    thrash.start_storm()
    first = thrash.storm_progress()
    assert first.operations > 0 and first.interval_stall_s <= first.stall_s
    with pytest.raises(ThrashError, match="storm is running"):
        thrash.check()
    result = thrash.stop_storm()
    assert result.operations >= first.operations
    assert (result.command, result.bad_pages) == ("storm", 1)
    assert thrash.check().bad_pages == 0  # the storm's writes replaced it


def test_a_storm_survives_pages_that_cannot_be_read(thrash: Thrash) -> None:
    for page in range(10):
        thrash.corrupt(page, "sigbus")
    thrash.start_storm()
    thrash.storm_progress()
    result = thrash.stop_storm()
    assert result.bad_pages == 10 and result.sigbus > 10
    assert thrash.init().bad_pages_total == 0 and thrash.check().bad_pages == 0


def test_pages_that_were_paged_out_are_sound(thrash: Thrash) -> None:
    assert thrash.page_out().bytes == SIZE
    assert thrash.check().bad_pages_total == 0


@pytest.mark.parametrize("block_bytes", [0, 63, 100, SIZE * 2])
def test_an_impossible_block_is_refused_with_a_reason(thrash: Thrash, block_bytes: int) -> None:
    with pytest.raises(ThrashError, match="multiple of 64"):
        thrash.run(Pattern.RANDOM_READ, block_bytes=block_bytes, seconds=1)


def test_a_run_without_an_end_is_refused(thrash: Thrash) -> None:
    with pytest.raises(ThrashError, match="above zero"):
        thrash.run(Pattern.RANDOM_READ, block_bytes=4096)


def test_nothing_works_before_init() -> None:
    with Thrash.local(SIZE) as fresh, pytest.raises(ThrashError, match="must be init"):
        fresh.check()


def test_a_killed_process_is_reported_and_closing_it_is_not_an_error() -> None:
    process = SystemRunner().spawn(command(SIZE), pipes=True)
    thrash = Thrash(LocalProcess(process))
    process.kill()
    with pytest.raises(ThrashError, match="has ended"):
        thrash.init()
    thrash.close()


class Scripted:
    """A process that says what it is told to, then falls silent or ends."""

    def __init__(self, lines: Sequence[str], end: type[Exception]) -> None:
        self.lines, self.end, self.sent = list(lines), end, list[str]()

    def send_line(self, line: str) -> None:
        self.sent.append(line)

    def read_line(self, timeout_s: float) -> str:
        if not self.lines:
            raise self.end
        return self.lines.pop(0)

    def close(self) -> None:
        self.sent.append("<closed>")


READY = '{"event":"ready","size_bytes":4096,"locked":true}'


def test_silence_and_death_are_told_apart() -> None:
    with pytest.raises(ThrashError, match="said nothing for 7 s"):
        Thrash(Scripted([READY], TimeoutError), silence_s=7).init()
    with pytest.raises(ThrashError, match="has ended: Killed"):
        Thrash(Scripted([READY, "Killed"], EOFError)).init()


class UnreachableMachineError(RamshareError):
    def __init__(self) -> None:
        super().__init__("the machine is gone", "look at its console")


def test_a_machine_that_is_gone_is_told_in_its_own_words() -> None:
    with pytest.raises(ThrashError, match=r"lost touch with thrash: the machine is gone \(look at its console\)"):
        Thrash(Scripted([READY], UnreachableMachineError)).check()


def test_lines_of_a_console_are_skipped_and_closing_says_quit() -> None:
    process = Scripted(["[    1.0] a kernel message", READY], EOFError)
    thrash = Thrash(process)
    thrash.close()
    assert thrash.size_bytes == 4096 and process.sent == ["quit", "<closed>"]


def test_lines_become_typed_events() -> None:
    assert parse_line(READY) == Ready(size_bytes=4096, locked=True)
    line = (
        '{"event":"result","command":"check","operations":1,"bytes":4096,"seconds":0.5,"mb_s":0.008,"bad_pages":0,'
        '"bad_pages_total":2,"sigbus":0,"stall_s":0.1,"block_bytes":4096,"major_faults":3,"kinds":{"lost":2},"later":1}'
    )
    event = parse_line(line)
    assert isinstance(event, Result) and event.kinds.lost == 2 and event.major_faults == 3


@pytest.mark.parametrize("line", ["", "{}", "[]", "null", '{"event":"moon"}', '{"event":"ready"}', '{"event":["x"]}'])
def test_foreign_lines_are_refused(line: str) -> None:
    with pytest.raises(ThrashError, match="not a line that thrash writes"):
        parse_line(line)


class FailingCompiler(SystemRunner):
    def run(self, argv: Sequence[str], **_: object) -> Completed:
        raise CommandError(Completed(tuple(argv), 1, stderr="cannot find -lc"), "exit status 1", "cc")


def test_a_compiler_without_its_library_is_named_by_package(tmp_path: Path) -> None:
    runner: Runner = FailingCompiler()
    with pytest.raises(MissingPartError, match="libc6-dev"):
        binary(runner, tmp_path)


def test_no_compiler_is_named_by_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ramshare.linux.run.find_tool", lambda _: None)
    with pytest.raises(MissingPartError, match="apt-get install gcc"):
        binary(cache=tmp_path)


def test_the_program_is_compiled_once(tmp_path: Path) -> None:
    built = binary(cache=tmp_path)
    assert list(tmp_path.iterdir()) == [built]
    assert binary(FailingCompiler(), tmp_path) == built
