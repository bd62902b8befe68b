from pathlib import Path

import pytest

from kit.cli_world import (
    MIB,
    Answer,
    CliWorld,
    KeyboardBus,
    Scripted,
    attaches,
    isolate,
    offer,
    refuses,
    returns,
    volume,
)
from ramshare.bus.api import RequestArrived
from ramshare.cli.volumes import check_volume
from ramshare.messages.replies import AttachReply, ErrorCode, LenderShare, Reply
from ramshare.messages.requests import BorrowVolume, ReturnVolume
from ramshare.messages.state import Mode, Status, Volume, VolumePhase
from ramshare.topics import Root, StateTopic, model_of, volume_path

pytestmark = pytest.mark.unit


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliWorld:
    isolate(monkeypatch, tmp_path)
    monkeypatch.setenv("RAMSHARE_HOST", "hostc")
    return CliWorld()


def test_borrow_follows_the_volume_until_it_is_attached(world: CliWorld) -> None:
    borrower = world.borrower()
    result = world.run("borrow", "vg0/swap", "--min-lenders", "2")
    assert result.exit_code == 0
    request = borrower.asked[0]
    assert isinstance(request, BorrowVolume)
    assert (request.volume, request.mode, request.min_lenders) == ("vg0/swap", None, 2)
    assert "vg0/swap of hostc is attached after" in result.stdout
    assert "step of attached" in result.stderr


def test_a_volume_that_is_attached_in_another_mode_is_left_so_and_told(world: CliWorld) -> None:
    world.borrower()
    result = world.run("borrow", "vg0/swap", "--mode", "move")
    assert result.exit_code == 5
    assert "was attached already, by mirror; it was left so" in result.stderr
    assert "ramshare return vg0/swap --host hostc" in result.stderr


def test_borrow_in_json_prints_nothing_but_json(world: CliWorld) -> None:
    world.borrower()
    told = world.run_json("borrow", "vg0/swap", "--json")
    assert told.pop("seconds") >= 0
    assert told == {
        "volume": "vg0/swap",
        "host": "hostc",
        "done": True,
        "phase": "attached",
        "mode": "mirror",
        "size_bytes": 256 * MIB,
        "local_bytes": 256 * MIB,
        "remote_bytes": 256 * MIB,
        "placement": [f"local /dev/vda {256 * MIB}"],
        "leases": ["l1"],
        "lenders": ["lender.hosta"],
        "sentence": "one is enough",
    }


@pytest.mark.parametrize(
    "text", ["vg0/swap", "/dev/vg0/swap", "/dev/mapper/vg0-swap", "/dev/disk/by-id/dm-name-vg0-swap"]
)
def test_volumes_may_be_named_as_they_stand_in_fstab(text: str) -> None:
    assert check_volume(text) == "vg0/swap"


def test_a_device_number_is_never_looked_up_on_another_host(world: CliWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ramshare.cli.volumes.volume_of_device", lambda _text: "vg0/swap")
    borrower = world.borrower()
    assert world.run("borrow", "/dev/dm-3", "--host", "hostd").exit_code == 2
    assert borrower.asked == []
    assert world.run("borrow", "/dev/dm-3").exit_code == 0
    assert [request.volume for request in borrower.asked if isinstance(request, BorrowVolume)] == ["vg0/swap"]


def test_a_plus_sign_in_a_name_is_no_wildcard() -> None:
    assert check_volume("/dev/mapper/a+b-c--d.e") == "a+b/c-d.e"
    state = StateTopic("borrower.hostc", volume_path("a+b/c-d.e"))
    assert "+" not in state.render()
    assert model_of(Root().parse(state.render())) is Volume


def test_the_device_path_of_a_volume_is_understood(world: CliWorld) -> None:
    borrower = world.borrower()
    assert world.run("borrow", "/dev/vg0/swap").exit_code == 0
    request = borrower.asked[0]
    assert isinstance(request, BorrowVolume)
    assert request.volume == "vg0/swap"


def test_a_failure_of_an_earlier_attempt_is_not_taken_for_this_one(world: CliWorld) -> None:
    borrower = world.borrower()
    borrower.tell("volume/vg0/swap", volume(VolumePhase.FAILED, step="long ago"))
    assert world.run("borrow", "vg0/swap").exit_code == 0


def test_a_borrower_that_gives_up_is_a_failure(world: CliWorld) -> None:
    failed = volume(VolumePhase.FAILED, step="failed, will try again: no disk")
    world.borrower(answers={BorrowVolume: attaches(volume(VolumePhase.ATTACHING), failed)})
    result = world.run("borrow", "vg0/swap", "--json")
    assert result.exit_code == 1
    assert "no disk" in result.stderr
    assert '"volume-failed"' in result.stdout


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_refusal_is_told_with_its_sentence_and_its_code(world: CliWorld, code: ErrorCode) -> None:
    world.borrower(answers={BorrowVolume: refuses(code, "because I say so")})
    result = world.run("borrow", "vg0/swap")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith("error: because I say so\n")
    told = world.run_json("borrow", "vg0/swap", "--json")
    assert told["error"]["code"] == code.value
    assert told["error"]["exit_code"] == 5


def test_without_waiting_the_command_says_how_to_follow(world: CliWorld) -> None:
    world.borrower(answers={BorrowVolume: attaches(volume(VolumePhase.ATTACHING))})
    result = world.run("borrow", "vg0/swap", "--no-wait")
    assert result.exit_code == 0
    assert "has begun: one is enough. Follow it: ramshare watch" in result.stdout


def test_the_time_given_ends_the_waiting_and_not_the_work(world: CliWorld) -> None:
    borrower = world.borrower(answers={BorrowVolume: attaches(volume(VolumePhase.ATTACHING))})
    result = world.run("borrow", "vg0/swap", "--timeout", "3600")
    assert result.exit_code == 1
    assert "is not done yet: step of attaching" in result.stderr
    assert len(borrower.asked) == 1


def test_ctrl_c_stops_the_watching_only_and_says_so(world: CliWorld) -> None:
    borrower = world.borrower(answers={BorrowVolume: attaches(volume(VolumePhase.ATTACHING))})
    world.bus_type = KeyboardBus
    result = world.run("borrow", "vg0/swap")
    assert result.exit_code == 130
    assert "Stopped watching; the borrower of hostc goes on attaching vg0/swap." in result.stderr
    assert "ramshare return vg0/swap --host hostc" in result.stderr
    assert len(borrower.asked) == 1


def test_return_waits_until_the_volume_is_home(world: CliWorld) -> None:
    world.borrower()
    result = world.run("return", "vg0/swap")
    assert result.exit_code == 0
    assert "vg0/swap of hostc is home again" in result.stdout
    assert world.run_json("return", "vg0/swap", "--json")["phase"] == "home"


def test_a_volume_that_is_home_already_needs_no_wait(world: CliWorld) -> None:
    borrower = world.borrower(answers={ReturnVolume: returns})
    borrower.tell("volume/vg0/swap", volume(VolumePhase.HOME))
    assert world.run("return", "vg0/swap").exit_code == 0


@pytest.mark.parametrize(
    "name",
    [
        "",
        "vg0",
        "vg0/",
        "/swap",
        "vg0/swap/x",
        "/dev/mapper/vg0",
        "UUID=x",
        "vg0/#",
        "../..",
        "vg 0/swap",
        "-vg/lv",
        "a/b\n",
    ],
)
def test_what_cannot_be_a_volume_is_refused_before_anybody_is_asked(world: CliWorld, name: str) -> None:
    result = world.run("borrow", "--", name)
    assert result.exit_code == 2
    assert world.opened == []


@pytest.mark.parametrize("option", ["--min-lenders=0", "--min-lenders=-1", "--min-lenders=65", "--min-lenders=x"])
def test_absurd_numbers_of_lenders_are_wrong_usage(world: CliWorld, option: str) -> None:
    assert world.run("borrow", "vg0/swap", option).exit_code == 2


@pytest.mark.parametrize("option", ["--timeout=0", "--timeout=-1", "--timeout=nan", "--timeout=1e12", "--mode=copy"])
def test_other_absurd_options_are_wrong_usage(world: CliWorld, option: str) -> None:
    assert world.run("borrow", "vg0/swap", option).exit_code == 2


def test_a_host_without_a_borrower_is_named_with_the_command_that_starts_one(world: CliWorld) -> None:
    world.borrower("hostd")
    result = world.run("borrow", "vg0/swap", "--host", "nowhere")
    assert result.exit_code == 5
    assert "no borrower is known on host 'nowhere'; online: hostd" in result.stderr
    assert "ramshare run borrower" in result.stderr


def test_a_borrower_that_is_offline_is_told_apart_from_one_that_never_was(world: CliWorld) -> None:
    world.borrower().tell("status", Status(status="offline"))
    result = world.run("borrow", "vg0/swap")
    assert result.exit_code == 1
    assert "the borrower of hostc is offline" in result.stderr
    assert "systemctl start ramshare-borrower" in result.stderr


@pytest.mark.parametrize("host", ["a b", "a/b", "#", "-x", "h" * 64, "höst"])
def test_what_cannot_be_a_host_is_wrong_usage(world: CliWorld, host: str) -> None:
    assert world.run("borrow", "vg0/swap", "--host", host).exit_code == 2


def foretells(*shares: LenderShare) -> Answer:
    def answer(agent: Scripted, arrived: RequestArrived) -> None:
        told = AttachReply(
            request_id=arrived.request.request_id,
            sentence="the most free memory",
            shares=shares,
            mode=Mode.MIRROR,
            size_bytes=256 * MIB,
        )
        agent.bus.answer(arrived, told)

    return answer


def test_a_dry_run_asks_the_borrower_for_nothing_but_words(world: CliWorld) -> None:
    world.manager(offer())
    borrower = world.borrower(
        answers={BorrowVolume: foretells(LenderShare(lender="lender.hosta", size_bytes=264 * MIB))}
    )
    told = world.run_json("borrow", "vg0/swap", "--dry-run", "--min-lenders", "1", "--json")
    assert told == {
        "possible": True,
        "volume": "vg0/swap",
        "host": "hostc",
        "mode": "mirror",
        "size_bytes": 256 * MIB,
        "shares": {"lender.hosta": 264 * MIB},
        "obstacles": [],
        "sentence": "vg0/swap of hostc by mirror: the most free memory. Nothing was done.",
    }
    assert [request.dry_run for request in borrower.asked if isinstance(request, BorrowVolume)] == [True]


def test_a_dry_run_of_what_cannot_be_says_why_in_the_owners_words(world: CliWorld) -> None:
    world.manager(offer())
    world.borrower(answers={BorrowVolume: refuses(ErrorCode.NO_CAPACITY, "asked for 256 MiB, there are 124 MiB")})
    result = world.run("borrow", "vg0/swap", "--dry-run", "--mode", "move")
    assert result.exit_code == 5
    assert "asked for 256 MiB, there are 124 MiB" in result.stdout


def test_a_dry_run_without_anybody_names_every_obstacle(world: CliWorld) -> None:
    told = world.run_json("borrow", "vg0/swap", "--dry-run", "--json")
    assert len(told["obstacles"]) == 2
    assert not told["possible"]
    assert told["size_bytes"] is None


# ---- waiting for memory


def stands(*phases: Volume) -> Answer:
    """Has it wait, then says these."""

    def answer(agent: Scripted, arrived: RequestArrived) -> None:
        agent.tell("volume/vg0/swap", volume(VolumePhase.WAITING, step="number 2 of 3 in line"))
        request_id = arrived.request.request_id
        agent.bus.answer(arrived, AttachReply(request_id=request_id, sentence="number 2 of 3 in line", waiting=True))
        for told in phases:
            agent.tell(f"volume/{told.volume}", told)

    return answer


@pytest.mark.parametrize(("written", "wait_s"), [("10m", 600), ("90s", 90), ("2h", 7200), ("45", 45)])
def test_a_request_may_wait_for_memory_and_shows_its_place(world: CliWorld, written: str, wait_s: float) -> None:
    attached = volume(VolumePhase.ATTACHED, 256 * MIB)
    borrower = world.borrower(answers={BorrowVolume: stands(volume(VolumePhase.ATTACHING), attached)})
    result = world.run("borrow", "vg0/swap", "--wait-for-memory", written)
    assert result.exit_code == 0
    assert [request.wait_s for request in borrower.asked if isinstance(request, BorrowVolume)] == [wait_s]
    assert "vg0/swap of hostc is attached after" in result.stdout


@pytest.mark.parametrize("written", ["", "soon", "-5m", "0", "25h", "10 weeks", "1e3s"])
def test_a_time_that_is_none_is_refused_before_anybody_is_asked(world: CliWorld, written: str) -> None:
    borrower = world.borrower()
    assert world.run("borrow", "vg0/swap", f"--wait-for-memory={written}").exit_code == 2
    assert borrower.asked == []


def test_a_wait_in_vain_ends_as_a_refusal_with_the_reason(world: CliWorld) -> None:
    failed = volume(VolumePhase.FAILED, step="no memory came in the time given")
    world.borrower(answers={BorrowVolume: stands(failed)})
    result = world.run("borrow", "vg0/swap", "--wait-for-memory", "10m", "--json")
    assert result.exit_code == 5
    assert "no memory came in the time given" in result.stderr
    assert '"no-capacity"' in result.stdout


def test_a_wait_that_somebody_else_ended_ends_here_too(world: CliWorld) -> None:
    home = volume(VolumePhase.HOME, step="vg0/swap was told to wait for memory no more")
    world.borrower(answers={BorrowVolume: stands(home)})
    result = world.run("borrow", "vg0/swap", "--wait-for-memory", "10m")
    assert result.exit_code == 5
    assert "told to wait for memory no more" in result.stderr


def test_ctrl_c_ends_the_wait(world: CliWorld) -> None:
    def ends(agent: Scripted, arrived: RequestArrived) -> None:
        sentence = "vg0/swap waits for memory no more"
        agent.bus.answer(arrived, Reply(request_id=arrived.request.request_id, sentence=sentence))

    borrower = world.borrower(answers={BorrowVolume: stands(), ReturnVolume: ends})
    world.bus_type = KeyboardBus
    result = world.run("borrow", "vg0/swap", "--wait-for-memory", "10m")
    assert result.exit_code == 130
    assert "Stopped: vg0/swap waits for memory no more." in result.stderr
    last = borrower.asked[-1]
    assert isinstance(last, ReturnVolume)
    assert last.only_waiting


def test_without_watching_the_command_says_that_it_waits(world: CliWorld) -> None:
    world.borrower(answers={BorrowVolume: stands()})
    result = world.run("borrow", "vg0/swap", "--wait-for-memory", "10m", "--no-wait")
    assert result.exit_code == 0
    assert "number 2 of 3 in line" in result.stdout
