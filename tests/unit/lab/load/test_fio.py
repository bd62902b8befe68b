"""The two raw measurements: what fio is asked, and what is read out of its answer."""

import json

import pytest

from ramshare_lab.load.fio import FioError, Raw, parse, random_read_argv, sequential_read_argv

pytestmark = pytest.mark.unit


def output(bw_bytes: int, lat_ns: float, error: int = 0, note: str = "") -> str:
    """As fio 3.33 writes it, cut to what is read."""
    job = {"jobname": "x", "error": error, "read": {"bw_bytes": bw_bytes, "lat_ns": {"mean": lat_ns, "N": 10}}}
    return note + json.dumps({"fio version": "fio-3.33", "jobs": [job]})


def test_random_reads_are_single_pages_one_at_a_time() -> None:
    assert random_read_argv("/dev/sda", 2.5) == [
        "fio", "--name=random_read", "--filename=/dev/sda", "--rw=randread", "--bs=4096", "--ioengine=psync",
        "--direct=1", "--readonly", "--clocksource=clock_gettime", "--time_based",
        "--runtime=2500ms", "--output-format=json",
    ]  # fmt: skip


def test_sequential_reads_are_large_and_several_in_flight() -> None:
    argv = sequential_read_argv("/dev/sda")
    assert {"--rw=read", "--bs=1048576", "--ioengine=libaio", "--iodepth=4", "--direct=1", "--readonly"} <= set(argv)


def test_figures_come_out_in_the_units_of_the_results() -> None:
    raw = parse(output(7_700_000, 512_000.0, note="fio: a note\n"), output(88_000_000, 1e6))
    assert raw == Raw(random_read_mb_s=7.7, random_read_latency_us=512, sequential_read_mb_s=88)


@pytest.mark.parametrize("bad", ["", "fio: no such file", "{}", '{"jobs":[]}', '{"jobs":[{"read":{}}]}', '{"jobs":3}'])
def test_an_answer_without_figures_is_refused(bad: str) -> None:
    with pytest.raises(FioError, match="no figures"):
        parse(bad, output(1, 1))


@pytest.mark.parametrize("failed", [output(0, 0.0), output(5, 1.0, error=5)])
def test_a_failed_job_is_not_taken_for_a_slow_one(failed: str) -> None:
    with pytest.raises(FioError, match="did nothing"):
        parse(output(1, 1), failed)
