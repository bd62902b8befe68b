"""What a machine lacks for ramshare, and what its own settings do to it: each with the command that mends it.

`ramshare doctor` and `ramshare-agent ROLE --check` show the findings (by `ramshare.doctor`) and fail if one of them
stops the agent from doing its work.

To add a check:

1. A module of this package with a frozen dataclass of *facts*; `observe(host: Host) -> Facts`, the only part that
   looks at the machine (commands by `host.runner`, files below `host.root`); and `judge(facts: Facts) ->
   list[Finding]`, pure: facts in, findings out. What a host lacks (a tool, a file) is a fact, not an error.
2. One line in `registry.CHECKS`: its name, the roles it concerns, the two functions, and `by_tools` if it runs the
   role's programs.
3. Tests of `judge` with facts as real hosts have them, and one of `observe` with `tests/kit/fakes.py` and a directory.

A check that cannot look is a finding too (`Check.findings` sees to it) and stops nothing.
"""
