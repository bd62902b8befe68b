"""Recorded traces: read, streamed through a policy, judged, compared; and what a bad file is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ramshare.cli.main import app
from ramshare.errors import ExitCode, RamshareError
from ramshare.policy.registry import make_policy, policy_names
from ramshare_lab.policies.compare import compare
from ramshare_lab.policies.score import score
from ramshare_lab.policies.trace import HostTrace, TraceError, read_trace, replay, write_decisions

pytestmark = pytest.mark.unit

GIB = 1 << 30
STEP_S = 300
START_S = 1_700_000_100


def trace_file(path: Path, days: float = 2.0, hosts: int = 2, columns: dict[str, list[Any]] | None = None) -> Path:
    """Write a small made-up trace: three guests a host, noise, a surge now and then, rows in no order."""
    chance = np.random.default_rng(7)
    rows = [
        (f"h{host}", f"vm{host}-{vm}", START_S + step * STEP_S)
        for host in range(hosts)
        for vm in range(3)
        for step in range(int(days * 288))
    ]
    used = chance.uniform(0.5, 1.0, len(rows)) + 3.0 * (chance.random(len(rows)) < 0.002)
    order = chance.permutation(len(rows))
    table: dict[str, list[Any]] = {
        "host": [rows[at][0] for at in order],
        "vm": [rows[at][1] for at in order],
        "timestamp": [rows[at][2] for at in order],
        "mem_capacity_bytes": [8 * GIB] * len(rows),
        "mem_used_bytes": [int(used[at] * GIB) for at in order],
    }
    pq.write_table(pa.table({**table, **(columns or {})}), path)
    return path


def tiny(used: list[float], capacity: float = 100.0, host: str = "h") -> HostTrace:
    """One guest on one host, a sample an hour."""
    steps = len(used)
    at_s, starts = np.arange(steps, dtype=np.int64) * 3600, np.arange(steps + 1, dtype=np.int64)
    return HostTrace(host, at_s, starts, ["vm"] * steps, np.full(steps, capacity), np.array(used, dtype=np.float64))


def lent(*figures: int) -> dict[str, Any]:
    return {"h": np.array(figures, dtype=np.int64)}


def test_rows_are_put_in_order_and_summed_by_host_and_step(tmp_path: Path) -> None:
    hosts = read_trace(trace_file(tmp_path / "t.parquet"))
    assert [host.host for host in hosts] == ["h0", "h1"]
    for host in hosts:
        assert np.all(np.diff(host.at_s) == STEP_S) and host.honest
        assert np.all(host.capacity_bytes == 24 * GIB)
        samples = list(host.samples())
        assert [sum(guest.used_bytes for guest in sample.guests) for sample in samples] == host.used_bytes.tolist()
        assert {guest.guest for guest in samples[5].guests} == {f"vm{host.host[1:]}-{vm}" for vm in range(3)}


@pytest.mark.parametrize("name", policy_names())
def test_decisions_cover_every_host_and_step_and_stay_within_capacity(name: str, tmp_path: Path) -> None:
    hosts = read_trace(trace_file(tmp_path / "t.parquet"))
    decided = replay(hosts, make_policy(name))
    write_decisions(hosts, decided, tmp_path / "d.parquet")
    table = pq.read_table(tmp_path / "d.parquet").to_pylist()
    assert {(row["host"], row["timestamp"]) for row in table} == {(h.host, at) for h in hosts for at in h.at_s.tolist()}
    assert all(0 <= row["lendable_bytes"] <= 24 * GIB for row in table)
    summed = replay(hosts, make_policy(name), summed=True)
    assert all(np.array_equal(decided[host.host], summed[host.host]) for host in hosts)


def test_each_decision_knows_nothing_of_what_comes_later() -> None:
    past = [10.0 + step % 3 for step in range(60)]
    one, other = tiny([*past, *[10.0] * 20]), tiny([*past, *[90.0] * 20])
    for name in policy_names():
        decided = [replay([trace], make_policy(name))["h"][:60] for trace in (one, other)]
        assert decided[0].tolist() == decided[1].tolist()


def test_the_four_figures_are_those_worked_out_by_hand() -> None:
    # Demand 20, 20, 60, 20, 20; lent 50, 70, 30, 40, 40. Foresight of the next hour could lend 80, 40, 40, 80, 80.
    found = score([tiny([20, 20, 60, 20, 20])], lent(50, 70, 30, 40, 40), warmup_s=0)
    assert found.lent_of_oracle == pytest.approx(230 / 320)
    assert found.harm_rate == pytest.approx(1 / 4)  # 60 beside 70
    assert found.harm_bytes_rate == pytest.approx(30 / 120)
    assert found.early_rate == pytest.approx(20 / 30)  # grew by 20, gone an hour later; grew by 10, kept
    assert found.host_steps == 4


def test_the_warm_up_is_not_judged_and_a_host_that_is_no_longer_than_it_counts_nothing() -> None:
    trace = tiny([20, 99, 20, 20, 20, 20])
    assert score([trace], lent(80, 0, 10, 10, 10, 10), warmup_s=2 * 3600).harm_rate == 0
    short = replace(tiny([20, 20]), host="short")
    both = {**lent(80, 0, 10, 10, 10, 10), "short": np.zeros(2, dtype=np.int64)}
    assert score([trace, short], both, warmup_s=0).host_steps == 5
    with pytest.raises(RamshareError, match="longer than the warm-up"):
        score([trace], lent(0, 0, 0, 0, 0, 0), warmup_s=86400)


def test_a_guest_that_lies_in_a_trace_reaches_the_policy_as_it_is() -> None:
    liar = tiny([20.0] * 30 + [float("nan")] * 3 + [-5.0] * 3 + [500.0] * 3 + [20.0] * 30)
    assert not liar.honest
    decided = replay([liar], make_policy())["h"]
    assert np.all(decided[30:39] == 0) and decided[29] > 0 and decided[-1] > 0


def test_compare_judges_every_policy_at_every_caution() -> None:
    told: list[tuple[str, float]] = []
    trace = tiny([20.0 + step % 7 for step in range(100)])
    points = compare([trace], policy_names(), cautions=(0.5, 1.0), done=lambda name, at: told.append((name, at)))
    assert [(point.policy, point.caution) for point in points] == told
    assert {name for name, _ in told} == set(policy_names()) and len(told) == 2 * len(policy_names())


@pytest.mark.parametrize(
    ("columns", "words"),
    [({"timestamp": ["yesterday"] * 1728}, "not numbers"), ({"mem_used_bytes": [["x"]] * 1728}, "not numbers")],
)
def test_a_trace_of_the_wrong_kind_is_refused(columns: dict[str, list[Any]], words: str, tmp_path: Path) -> None:
    days = 1728 / 3 / 2 / 288
    with pytest.raises(TraceError, match=words):
        read_trace(trace_file(tmp_path / "t.parquet", days, columns=columns))


def test_a_file_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    pq.write_table(pa.table({"host": ["h"]}), tmp_path / "lacking")
    pq.write_table(pq.read_table(trace_file(tmp_path / "t")).slice(0, 0), tmp_path / "empty")
    for name in ("text", "lacking", "empty", "absent"):
        with pytest.raises(TraceError):
            read_trace(tmp_path / name)


def test_the_commands_replay_and_compare_and_draw(tmp_path: Path) -> None:
    trace, runner = trace_file(tmp_path / "t.parquet"), CliRunner()
    replayed = runner.invoke(app, ["policy", "replay", str(trace), "--out", str(tmp_path / "d.parquet"), "--json"])
    assert replayed.exit_code == 0, replayed.output
    assert json.loads(replayed.stdout)["host_steps"] == 2 * (288 - 1)
    assert pq.read_table(tmp_path / "d.parquet").column_names == ["host", "timestamp", "lendable_bytes"]
    chart = tmp_path / "frontier.png"
    compared = runner.invoke(app, ["policy", "compare", str(trace), "--png", str(chart)])
    assert compared.exit_code == 0, compared.output
    assert all(name in compared.stdout for name in policy_names())
    assert chart.read_bytes().startswith(b"\x89PNG") and chart.stat().st_size > 20_000


def test_the_commands_say_what_is_wrong(tmp_path: Path) -> None:
    trace = trace_file(tmp_path / "t.parquet", days=0.2)
    runner, out = CliRunner(), ["--out", str(tmp_path / "d.parquet")]
    cases = [
        (["replay", str(trace), *out, "--policy", "best"], ExitCode.USAGE, "no surplus policy named"),
        (["replay", str(tmp_path / "absent"), *out], ExitCode.USAGE, "cannot read"),
        (["replay", str(trace), "--out", str(tmp_path / "no" / "d")], ExitCode.FAILED, "cannot write"),
        (["compare", str(trace)], ExitCode.FAILED, "longer than the warm-up"),
    ]
    for arguments, code, words in cases:
        done = runner.invoke(app, ["policy", *arguments])
        assert done.exit_code == code and words in done.stderr, done.output
