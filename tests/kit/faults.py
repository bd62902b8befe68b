"""Faults on purpose: anything that an agent is given can be made to raise at a seam of the test's choice."""

from collections.abc import Callable, Collection
from typing import Any


class Faults:
    """Raises once at each seam that is armed; a seam is `what.method`."""

    def __init__(self) -> None:
        self.armed: dict[str, tuple[int, Exception]] = {}
        self.happened: list[str] = []

    def arm(self, seam: str, error: Exception, after: int = 0) -> None:
        """Have the call after the next `after` calls raise."""
        self.armed[seam] = (after, error)

    def at(self, seam: str) -> None:
        if seam not in self.armed:
            return
        left, error = self.armed.pop(seam)
        if left:
            self.armed[seam] = (left - 1, error)
            return
        self.happened.append(seam)
        raise error

    def on(self, what: str, target: Any, methods: Collection[str]) -> Any:
        """Return `target` with a seam before each of `methods`."""
        return _Faulty(self, what, target, frozenset(methods))


class _Faulty:
    def __init__(self, faults: Faults, what: str, target: Any, methods: frozenset[str]) -> None:
        self._faults, self._what, self._target, self._methods = faults, what, target, methods

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return self._guarded(name, found) if name in self._methods else found

    def _guarded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self._faults.at(f"{self._what}.{name}")
            return call(*args, **kwargs)

        return guarded
