"""The raw speed of a leased LUN, by fio: what network, target and emulation cost before swap and LVM add theirs.

Pure: argument lists out, figures in. The lab runs them on the borrower's host, on a device that holds nothing yet.
"""

import json
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from ramshare.errors import RamshareError

RANDOM_BLOCK_BYTES = 4096
"""One page: what a swap read without read-ahead asks for."""
SEQUENTIAL_BLOCK_BYTES = 1 << 20
SEQUENTIAL_DEPTH = 4
"""Requests in flight in the sequential run: with one alone the figure would be a latency, not a bandwidth."""


class FioError(RamshareError):
    """fio failed, or its output holds no figures."""


class Raw(BaseModel):
    """Raw figures of one device, as they stand in `results/demo.json`."""

    model_config = ConfigDict(frozen=True)

    random_read_mb_s: float
    """4 KiB, one request at a time, 10^6 bytes per second."""
    random_read_latency_us: float
    """Mean time from request to answer of the same run."""
    sequential_read_mb_s: float
    """1 MiB requests, 10^6 bytes per second."""


def random_read_argv(device: str, seconds: float = 5.0) -> list[str]:
    """Return the fio command for 4 KiB random reads at queue depth 1 on `device`."""
    return _argv(device, "random_read", "randread", RANDOM_BLOCK_BYTES, 1, seconds)


def sequential_read_argv(device: str, seconds: float = 5.0) -> list[str]:
    """Return the fio command for 1 MiB sequential reads on `device`."""
    return _argv(device, "sequential_read", "read", SEQUENTIAL_BLOCK_BYTES, SEQUENTIAL_DEPTH, seconds)


def sequential_write_argv(device: str, offset_bytes: int, size_bytes: int, seconds: float = 5.0) -> list[str]:
    """Return the fio command for 1 MiB sequential writes to a part of `device`, which overwrites it."""
    read = _argv(device, "sequential_write", "write", SEQUENTIAL_BLOCK_BYTES, SEQUENTIAL_DEPTH, seconds)
    return [*(word for word in read if word != "--readonly"), f"--offset={offset_bytes}", f"--size={size_bytes}"]


def rate_mb_s(output: str) -> float:
    """Return what one sequential run did, 10^6 bytes per second. Raises `FioError` if its output holds no figures."""
    return _job(output)["bw_bytes"] / 1e6


def parse(random_read: str, sequential_read: str) -> Raw:
    """Return the figures in the output of both commands. Raises `FioError` if either holds none."""
    random, sequential = _job(random_read), _job(sequential_read)
    return Raw(
        random_read_mb_s=random["bw_bytes"] / 1e6,
        random_read_latency_us=random["lat_ns"] / 1e3,
        sequential_read_mb_s=sequential["bw_bytes"] / 1e6,
    )


def _argv(device: str, name: str, rw: str, block_bytes: int, depth: int, seconds: float) -> list[str]:
    engine: Sequence[str] = ["--ioengine=psync"] if depth == 1 else ["--ioengine=libaio", f"--iodepth={depth}"]
    return [
        "fio",
        f"--name={name}",
        f"--filename={device}",
        f"--rw={rw}",
        f"--bs={block_bytes}",
        *engine,
        "--direct=1",
        "--readonly",
        # fio's own clock counts CPU cycles, whose rate it measures at its start: wrong on a busy emulated CPU.
        "--clocksource=clock_gettime",
        "--time_based",
        f"--runtime={round(seconds * 1000)}ms",
        "--output-format=json",
    ]


def _job(output: str) -> dict[str, float]:
    """Return one job's figures, of whatever it did; fio may write notes before its JSON."""
    try:
        job = json.loads(output[output.index("{") :])["jobs"][0]
        did = max((job["read"], job.get("write", job["read"])), key=lambda way: float(way["bw_bytes"]))
        figures = {"bw_bytes": float(did["bw_bytes"]), "lat_ns": float(did["lat_ns"]["mean"])}
        error = int(job["error"])
    except (ValueError, KeyError, IndexError, TypeError) as problem:
        raise FioError(f"fio's output holds no figures: {output.strip()[:200]!r}") from problem
    if error or figures["bw_bytes"] <= 0:
        raise FioError(f"fio did nothing (error {error})", "is the device there and larger than 1 MiB?")
    return figures
