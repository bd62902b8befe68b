"""Hypothesis strategies for what travels on the bus: any valid value of any message model, made from its own fields.

Used by the tests of messages, topics and agents, so that a new field or message is covered without a new test.
"""

import types
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, SecretStr, StringConstraints
from pydantic.fields import FieldInfo

from ramshare.messages.base import Message

M = TypeVar("M", bound=BaseModel)

_FIRST, _LAST = datetime(2000, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001 (hypothesis adds the zone)
SENSIBLE_TIMES = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC))
CLIENT_NAMES = st.from_regex(r"(lender|borrower|guest|cli)\.[a-zA-Z0-9][a-zA-Z0-9_-]{0,20}", fullmatch=True)


def messages(model: type[M]) -> st.SearchStrategy[M]:
    """Return valid instances of a message model, every field filled in."""
    fields = {
        name: _of(info.annotation, _flat(info.metadata))
        for name, info in model.model_fields.items()
        if name != "schema_id"
    }
    return st.fixed_dictionaries(fields).map(model.model_validate)


def any_message(kinds: list[type[Message]]) -> st.SearchStrategy[Message]:
    """Return instances of any of these models."""
    return st.one_of([messages(kind) for kind in kinds])


def _flat(metadata: list[Any]) -> list[Any]:
    """Lift what a `Field(...)` inside `Annotated` holds to one list of constraints."""
    found: list[Any] = []
    for item in metadata:
        found += _flat(list(item.metadata)) if isinstance(item, FieldInfo) else [item]
    return found


def _of(kind: Any, limits: list[Any]) -> st.SearchStrategy[Any]:
    origin = get_origin(kind)
    if origin is Annotated:
        base, *extra = get_args(kind)
        return _of(base, [*limits, *_flat(extra)])
    if origin in (Union, types.UnionType):
        return st.one_of([_of(option, limits) for option in get_args(kind)])
    if origin is Literal:
        return st.sampled_from(get_args(kind))
    if origin is tuple:
        return st.lists(_of(get_args(kind)[0], []), min_size=_least(limits), max_size=min(4, _most(limits))).map(tuple)
    return _plain(kind, limits)


def _plain(kind: Any, limits: list[Any]) -> st.SearchStrategy[Any]:
    if kind is type(None):
        return st.none()
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(_low(limits), _high(limits, 1 << 50))
    if kind is float:
        return st.floats(_low(limits), _high(limits, 1e15), allow_nan=False, allow_infinity=False)
    if kind in (datetime, AwareDatetime):
        return SENSIBLE_TIMES
    if kind is SecretStr:
        return st.text("abcXYZ0123456789", min_size=_least(limits), max_size=min(20, _most(limits)))
    if kind is str:
        return _text(limits)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return messages(kind)
    raise TypeError(f"no strategy for {kind!r}: extend tests/strategies.py")


def _text(limits: list[Any]) -> st.SearchStrategy[str]:
    for limit in limits:
        pattern = limit.pattern if isinstance(limit, StringConstraints) else getattr(limit, "pattern", None)
        if pattern is not None:
            return st.from_regex(str(pattern).removesuffix("$") + r"\Z", fullmatch=True).filter(
                lambda text: len(text) <= _most(limits)
            )
    return st.text(max_size=min(40, _most(limits)))


def _low(limits: list[Any]) -> Any:
    for limit in limits:
        if isinstance(limit, Ge):
            return limit.ge
        if isinstance(limit, Gt):
            return int(str(limit.gt)) + 1
    return 0


def _high(limits: list[Any], default: float) -> Any:
    return next((x.le for x in limits if isinstance(x, Le)), default)


def _least(limits: list[Any]) -> int:
    return next((x.min_length for x in limits if isinstance(x, MinLen)), 0)


def _most(limits: list[Any]) -> int:
    for limit in limits:
        if isinstance(limit, MaxLen):
            return limit.max_length
        if isinstance(limit, StringConstraints) and limit.max_length is not None:
            return limit.max_length
    return 1000
