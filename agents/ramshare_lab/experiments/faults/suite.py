"""Runs the fault cases one after another, on one lab as long as each leaves it clean, and collects their rows."""

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from ramshare.errors import ExitCode, RamshareError
from ramshare.linux.target import Kind
from ramshare.messages.state import Mode
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.experiments.faults import (
    cases_agents,
    cases_lending,
    cases_mirror,
    cases_move,
    cases_network,
    cases_pair,
    cases_react,
)
from ramshare_lab.experiments.faults.case import Case, FaultReport, FaultRow, play
from ramshare_lab.experiments.faults.specs import usual_spec
from ramshare_lab.experiments.faults.stage import Stage

CASES: tuple[Case, ...] = (
    *cases_mirror.CASES,
    *cases_agents.CASES,
    *cases_network.CASES,
    *cases_move.CASES,
    *cases_lending.CASES,
    *cases_pair.CASES,
    *cases_react.CASES,
)
SHAPES = {
    Mode.MIRROR.value: usual_spec,
    Mode.MOVE.value: usual_spec,
    Mode.PAIR.value: cases_pair.pair_spec,
    "race": cases_lending.racing_spec,
    "twice": cases_lending.twice_spec,
    "react": cases_react.reacting_spec,
}
"""The labs that cases need, in the order in which they are played: to boot one takes a while."""


class UnknownCaseError(RamshareError):
    """No case of that name."""

    exit_code = ExitCode.USAGE


def select(names: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases of these names (or that begin so), all for none. Raises `UnknownCaseError`."""
    for name in names:
        if not any(case.name.startswith(name) for case in CASES):
            raise UnknownCaseError(f"no fault case is called {name}", ", ".join(case.name for case in CASES))
    chosen = [case for case in CASES if not names or any(case.name.startswith(name) for name in names)]
    return tuple(sorted(chosen, key=lambda case: list(SHAPES).index(case.lab)))


def run_suite(
    cases: Sequence[Case],
    *,
    name: str = "faults",
    accel: str = "",
    target: Kind = "tgt",
    lenders_in_vms: bool = False,
    logs: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    on_row: Callable[[FaultReport], None] = lambda _: None,
) -> FaultReport:
    """Play the cases in their order and return the report; `on_row` gets it as it is after each row.

    What agents and kernels logged during a case that failed is kept below `logs`.
    """
    started = time.monotonic()
    rows: list[FaultRow] = []

    def report() -> FaultReport:
        return FaultReport(accel=accel, seconds=round(time.monotonic() - started, 1), rows=tuple(rows))

    with ExitStack() as stack:
        stage: Stage | None = None
        shape = ""
        for case in cases:
            if stage is None or shape != case.lab:
                stack.close()
                spec = SHAPES[case.lab](name, accel=accel, target=target, lenders_in_vms=lenders_in_vms)
                lab = stack.enter_context(Lab(spec, say))
                stage, shape = stack.enter_context(Stage(lab, say)), case.lab
            say(f"case {case.name}: {case.fault}")
            row = play(case, stage)
            rows.append(row)
            accel = lab.accel
            on_row(report())
            if not row.survived:
                if logs is not None:
                    _keep_logs(lab, logs / case.name)
                stack.close()
                stage = None
    return report()


def _keep_logs(lab: Lab, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    logs = [lab.log_path(client) for client in lab.agents] + [lab.broker.log_path]
    for path in filter(Path.exists, logs):
        shutil.copy(path, directory / path.name)
    for name, vm in lab.vms.items():
        shutil.copy(vm.spec.console_log, directory / f"{name}.console")
        with contextlib.suppress(RamshareError):
            (directory / f"{name}.dmesg").write_text(vm.shell.run(["dmesg"], timeout_s=20.0).stdout)
