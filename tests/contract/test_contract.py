"""The written contract is what the code says, its examples obey it, and every message and topic has its place in it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kit.strategies import messages
from ramshare.contract import asyncapi as contract
from ramshare.contract.examples import EXAMPLES
from ramshare.messages.base import Message
from ramshare.messages.events import Event
from ramshare.messages.replies import REPLIES
from ramshare.topics import REQUESTS, every_state_model

pytestmark = pytest.mark.unit

SCHEMAS = Path(__file__).parents[2] / "schemas"
TRAVELLING = {
    *every_state_model(),
    *REQUESTS.values(),
    *REPLIES,
    Event,
}


def validator(model: type[Message]) -> Draft202012Validator:
    schema = contract.json_schema(model)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_what_is_written_is_not_stale() -> None:
    assert contract.stale(SCHEMAS) == [], "write it again: ramshare schemas schemas"


def test_every_message_that_travels_is_in_the_contract() -> None:
    assert set(EXAMPLES) == TRAVELLING


def test_every_kind_has_a_file_of_its_own() -> None:
    assert len({contract.schema_file(model) for model in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_the_example_obeys_its_schema(model: type[Message]) -> None:
    validator(model).validate(json.loads(EXAMPLES[model].to_json()))


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_the_schema_refuses_another_layout(model: type[Message]) -> None:
    example = json.loads(EXAMPLES[model].to_json())
    unnamed = {key: value for key, value in example.items() if key != "schema"}
    broken_ones: tuple[Any, ...] = ({**example, "schema": "other/9"}, unnamed, [], "text")
    for broken in broken_ones:
        assert not validator(model).is_valid(broken)


VALIDATORS = {model: validator(model) for model in EXAMPLES}


@given(st.one_of([messages(model) for model in EXAMPLES]))
def test_whatever_an_agent_can_send_obeys_its_schema(message: Message) -> None:
    VALIDATORS[type(message)].validate(json.loads(message.to_json()))


def test_the_examples_in_the_document_are_the_messages_own() -> None:
    document = contract.asyncapi()
    schemas = document["components"]["schemas"]
    for model, example in EXAMPLES.items():
        shown = document["components"]["messages"][model.__name__]["examples"][0]["payload"]
        assert shown == json.loads(example.to_json())
        resolver: dict[str, Any] = {**schemas[model.__name__], "components": {"schemas": schemas}}
        Draft202012Validator(resolver).validate(shown)


def test_every_request_is_an_operation_with_a_reply_but_the_broadcast() -> None:
    operations = contract.asyncapi()["operations"]
    asks = {name: operation for name, operation in operations.items() if name.startswith("ask_")}
    assert set(asks) == {f"ask_{server}_{verb}" for server, verb in REQUESTS}
    assert [name for name, operation in asks.items() if "reply" not in operation] == ["ask_all_announce"]


def test_only_state_is_retained() -> None:
    for name, operation in contract.asyncapi()["operations"].items():
        assert operation["bindings"]["mqtt"]["retain"] == name.startswith("publish_state_")


def test_writing_removes_what_is_left_over_and_repairs_what_was_changed(tmp_path: Path) -> None:
    contract.write(tmp_path)
    (tmp_path / "gone-1.json").write_text("{}")
    (tmp_path / "offer-1.json").write_text("{}")
    (tmp_path / contract.ASYNCAPI_FILE).unlink()
    assert contract.stale(tmp_path) == ["asyncapi.json", "gone-1.json", "offer-1.json"]
    contract.write(tmp_path)
    assert contract.stale(tmp_path) == []
    assert not (tmp_path / "gone-1.json").exists()
