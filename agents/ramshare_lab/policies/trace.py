"""Streams a recorded trace through the same policy code that runs in a lender.

Used by `ramshare policy replay` and `compare`. A trace is a parquet file with one row per guest and step: `host`, `vm`,
`timestamp` (s), `mem_capacity_bytes`, `mem_used_bytes`. Decisions have one row per host and step: `host`, `timestamp`,
`lendable_bytes`. numpy and pyarrow come with the `policy` extra and are needed here only, never by a policy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramshare.errors import ExitCode, MissingPartError, RamshareError
from ramshare.policy.model import GuestSample, HostSample, Policy

try:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from numpy.typing import NDArray
except ImportError as missing:
    raise MissingPartError(
        f"replaying a trace needs the Python package {missing.name}", "pip install 'ramshare[policy]'"
    ) from missing

COLUMNS = ("host", "vm", "timestamp", "mem_capacity_bytes", "mem_used_bytes")


class TraceError(RamshareError):
    """A trace that cannot be read or lacks what a replay needs."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class HostTrace:
    """One host's rows in order of time. `starts` has the first row of every step and, last, the number of rows."""

    host: str
    at_s: "NDArray[np.int64]"
    starts: "NDArray[np.int64]"
    guests: list[str]
    guest_capacity_bytes: "NDArray[np.float64]"
    guest_used_bytes: "NDArray[np.float64]"

    @property
    def capacity_bytes(self) -> "NDArray[np.float64]":
        """The host's memory at every step: the sum over its guests."""
        return np.add.reduceat(self.guest_capacity_bytes, self.starts[:-1])

    @property
    def used_bytes(self) -> "NDArray[np.float64]":
        """The host's demand at every step: the sum over its guests."""
        return np.add.reduceat(self.guest_used_bytes, self.starts[:-1])

    @property
    def honest(self) -> bool:
        """Whether no guest ever claims what cannot be: then the sums say all."""
        used, capacity = self.guest_used_bytes, self.guest_capacity_bytes
        return bool(np.all((used >= 0) & (used <= capacity) & np.isfinite(capacity)))

    def samples(self) -> Iterator[HostSample]:
        """Yield what the lender would have seen, step by step, each guest by itself."""
        capacity, used = self.guest_capacity_bytes.tolist(), self.guest_used_bytes.tolist()
        starts = self.starts.tolist()
        for step, at_s in enumerate(self.at_s.tolist()):
            guests = tuple(
                GuestSample(self.guests[row], at_s, capacity[row], used[row])
                for row in range(starts[step], starts[step + 1])
            )
            yield HostSample(self.host, at_s, 0.0, 0.0, guests)

    def summed_samples(self) -> Iterator[HostSample]:
        """Yield the same with all guests as one sum: much faster, for policies that look at sums and honest traces."""
        steps = zip(self.at_s.tolist(), self.capacity_bytes.tolist(), self.used_bytes.tolist(), strict=True)
        for at_s, capacity_bytes, used_bytes in steps:
            yield HostSample(self.host, at_s, capacity_bytes, used_bytes)


def read_trace(path: Path) -> list[HostTrace]:
    """Read a trace, hosts in order of name. Raises `TraceError` for a file that is not one."""
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError, KeyError) as error:
        raise TraceError(
            f"cannot read {path} as a trace: {error}", f"it must be parquet with the columns {', '.join(COLUMNS)}"
        ) from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise TraceError(f"{path} lacks the columns {', '.join(missing)}", f"a trace has {', '.join(COLUMNS)}")
    if table.num_rows == 0:
        raise TraceError(f"{path} has no rows")
    table = table.sort_by([("host", "ascending"), ("timestamp", "ascending")])
    return [
        _host_trace(host, table.filter(pc.equal(table["host"], host))) for host in pc.unique(table["host"]).to_pylist()
    ]


def _host_trace(host: str, rows: Any) -> HostTrace:
    try:
        at_s = rows["timestamp"].to_numpy().astype(np.int64)
        capacity, used = (rows[name].to_numpy().astype(np.float64) for name in COLUMNS[3:])
    except (TypeError, ValueError, pa.ArrowInvalid) as error:
        raise TraceError(f"the rows of host {host} are not numbers: {error}") from error
    steps, first = np.unique(at_s, return_index=True)
    starts = np.append(first, len(at_s)).astype(np.int64)
    return HostTrace(str(host), steps, starts, [str(guest) for guest in rows["vm"].to_pylist()], capacity, used)


def replay(hosts: list[HostTrace], policy: Policy, *, summed: bool = False) -> dict[str, "NDArray[np.int64]"]:
    """Return every decision by host, in order of time."""
    return {
        trace.host: np.fromiter(
            (policy.decide(sample).lendable_bytes for sample in (trace.summed_samples if summed else trace.samples)()),
            np.int64,
            len(trace.at_s),
        )
        for trace in hosts
    }


def write_decisions(hosts: list[HostTrace], lent_bytes: dict[str, "NDArray[np.int64]"], path: Path) -> None:
    """Write decisions as parquet. Raises `RamshareError` if the file cannot be written."""
    table = pa.table(
        {
            "host": [trace.host for trace in hosts for _ in range(len(trace.at_s))],
            "timestamp": np.concatenate([trace.at_s for trace in hosts]),
            "lendable_bytes": np.concatenate([lent_bytes[trace.host] for trace in hosts]),
        }
    )
    try:
        pq.write_table(table, path)
    except OSError as error:
        raise RamshareError(f"cannot write {path}: {error.strerror or error}") from error
