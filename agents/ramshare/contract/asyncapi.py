"""The contract in standard form, generated from messages and topics: one AsyncAPI 3 document, a JSON Schema for each.

`ramshare schemas` writes it to `schemas/`, for people and programs that talk to agents without this package; a test
fails when what is written there is not what the code says. The document takes the side of the client that sends.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from ramshare.contract.examples import EXAMPLES
from ramshare.messages import replies, requests
from ramshare.messages.base import MAX_PAYLOAD_BYTES, Message
from ramshare.messages.events import Event, EventKind
from ramshare.messages.replies import REPLIES, Reply
from ramshare.topics import ALLOWED, DEFAULT_ROOT, EVERYBODY, MANAGER, OWN_HOST, REQUESTS, STATES, VERSION

ASYNCAPI_FILE = "asyncapi.json"
CONTRACT_VERSION = "1.0.0"
"""Raised with the layout of any message; the first part is that of the topics."""

Json = dict[str, Any]

_REPLY_OF: dict[type[requests.Request], type[Reply]] = {
    requests.BorrowVolume: replies.AttachReply,
    requests.BorrowMemory: replies.BorrowReply,
    requests.ExportLease: replies.ExportReply,
}
"""What grants a request, where it is more than a plain `Reply`. Refusals are always plain."""

_DESCRIPTION = f"""\
How ramshare's agents lend the idle memory of one host to the swap of another. Four channels: `state` is
retained and says what is true now (an empty payload: gone), `event` says what happened, `request` asks one
agent and `reply` answers, found by correlation data or `request_id`. A reply's topic follows from its
request's; a response topic is ignored. Payloads are JSON of at most {MAX_PAYLOAD_BYTES} bytes; unknown fields
are ignored; a message whose `schema` is another is dropped.
"""
_PATH_PARAMETERS = {
    "export": ("lease",),
    "guest": ("guest",),
    "lease": ("lease",),
    "volume": ("vg", "lv"),
    "host": ("host",),
}
_PARAMETERS: dict[str, Json] = {
    "client": {
        "description": "MQTT user name and client id of the sender: `role.name`, or `manager`.",
        "examples": ["lender.hosta", "borrower.hostb", "guest.web1", "cli.alice", "manager"],
    },
    "name": {"description": "Name of the host or guest.", "examples": ["hosta", "web1"]},
    "server": {"description": "Client name of the agent that is asked.", "examples": ["lender.hosta", "manager"]},
    "lease": {"description": "Id of a lease.", "examples": ["lease-1a2b3c"]},
    "vg": {"description": "LVM volume group.", "examples": ["vg0"]},
    "lv": {"description": "LVM logical volume.", "examples": ["swap"]},
    "guest": {"description": "Name of a guest.", "examples": ["web1"]},
    "host": {"description": "Name of a host.", "examples": ["hosta"]},
    "kind": {"description": "What happened.", "enum": [kind.value for kind in EventKind]},
}


def generate() -> dict[str, str]:
    """Return every file of the contract: name to text."""
    files = {ASYNCAPI_FILE: _text(asyncapi())}
    for model in EXAMPLES:
        files[schema_file(model)] = _text(json_schema(model))
    return files


def write(directory: Path) -> None:
    """Write the contract and remove what is no part of it any more."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in stale(directory):
        (directory / name).unlink(missing_ok=True)
    for name, text in generate().items():
        (directory / name).write_text(text)


def stale(directory: Path) -> list[str]:
    """Return the names of files that are missing, different or left over."""
    wanted = generate()
    present = {path.name: path.read_text() for path in directory.glob("*.json")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def schema_file(model: type[Message]) -> str:
    """Return the file name of one message's JSON Schema: `offer-1.json` for `offer/1`."""
    return model.KIND.replace("/", "-") + ".json"


def json_schema(model: type[Message]) -> Json:
    """Return the self-contained JSON Schema of one message."""
    _, found = models_json_schema([(model, "validation")], ref_template="#/$defs/{model}")
    definitions = {name: _named(schema, name) for name, schema in found["$defs"].items()}
    own = definitions.pop(model.__name__)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:ramshare:{VERSION}:{model.KIND.replace('/', ':')}",
    }
    return {**head, **own, **({"$defs": definitions} if definitions else {}), "examples": [_example(model)]}


def asyncapi() -> Json:
    """Return the AsyncAPI 3 document."""
    _, found = models_json_schema(
        [(model, "validation") for model in EXAMPLES], ref_template="#/components/schemas/{model}"
    )
    channels, operations = _channels_and_operations()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "ramshare",
            "version": CONTRACT_VERSION,
            "description": _DESCRIPTION,
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "localhost:8883",
                "protocol": "secure-mqtt",
                "protocolVersion": "5.0",
                "description": "Mosquitto with TLS and the rights that `ramshare broker init` gives each role.",
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {model.__name__: _message(model) for model in EXAMPLES},
            "schemas": {name: _named(schema, name) for name, schema in found["$defs"].items()},
        },
    }


def _channels_and_operations() -> tuple[Json, Json]:
    channels: Json = {"reply": _reply_channel()}
    operations: Json = {}
    for name, address, model in _states():
        channels[name] = _channel(address, [model], f"Retained. {_first_line(model)}")
        operations[f"publish_{name}"] = _operation(name, model, f"Say what is true now: {model.KIND}.", retain=True)
    channels["event"] = _channel(_address("event/{client}/{kind}"), [Event], _first_line(Event))
    operations["publish_event"] = _operation("event", Event, "Say what happened.", retain=False)
    for (server, verb), request in REQUESTS.items():
        name = f"request_{server}_{verb}"
        place = server if server in (MANAGER, EVERYBODY, OWN_HOST) else "{server}"
        who = ", ".join(sorted(ALLOWED[(server, verb)]))
        description = f"{_first_line(request)} Accepted from: {who}."
        channels[name] = _channel(_address(f"request/{place}/{{client}}/{verb}"), [request], description)
        operation = _operation(name, request, f"Ask {server} for {verb}.", retain=False)
        if server != EVERYBODY:
            operation["reply"] = _reply(request)
        operations[f"ask_{server}_{verb}"] = operation
    return channels, operations


def _states() -> Iterator[tuple[str, str, type[Message]]]:
    """Yield name, address and model of every state channel, by role; the manager's carry its name in the address."""
    for role, models in STATES.items():
        for pattern, model in models.items():
            first = pattern.partition("/")[0]
            parameters = _PATH_PARAMETERS.get(first, ())
            path = "/".join([first, *(f"{{{name}}}" for name in parameters)])
            if pattern.count("+") != len(parameters):
                raise ValueError(f"name the parameters of {pattern!r} in _PATH_PARAMETERS")
            client = MANAGER if role == MANAGER else f"{role}.{{name}}"
            yield f"state_{role}_{first}", _address(f"state/{client}/{path}"), model


def _reply_channel() -> Json:
    text = "Never retained, at QoS 0 to the client: the only messages that may hold a secret."
    return _channel(_address("reply/{client}/{server}"), list(REPLIES), text)


def _reply(request: type[requests.Request]) -> Json:
    models: dict[type[Reply], None] = dict.fromkeys((_REPLY_OF.get(request, Reply), Reply))
    return {
        "channel": {"$ref": "#/channels/reply"},
        "messages": [{"$ref": f"#/channels/reply/messages/{model.__name__}"} for model in models],
    }


def _channel(address: str, models: list[type[Message]], description: str) -> Json:
    parameters = {name: schema for name, schema in _PARAMETERS.items() if f"{{{name}}}" in address}
    return {
        "address": address,
        "description": description,
        "messages": {model.__name__: {"$ref": f"#/components/messages/{model.__name__}"} for model in models},
        **({"parameters": parameters} if parameters else {}),
    }


def _operation(channel: str, model: type[Message], summary: str, *, retain: bool) -> Json:
    return {
        "action": "send",
        "summary": summary,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{model.__name__}"}],
        "bindings": {"mqtt": {"qos": 1, "retain": retain, "bindingVersion": "0.2.0"}},
    }


def _message(model: type[Message]) -> Json:
    message: Json = {
        "name": model.KIND,
        "title": model.__name__,
        "summary": _first_line(model),
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "examples": [{"name": "example", "payload": _example(model)}],
    }
    if "request_id" in model.model_fields:
        message["correlationId"] = {
            "description": "Also sent as MQTT 5 correlation data, which may be any bytes.",
            "location": "$message.payload#/request_id",
        }
    return message


def _named(schema: Json, name: str) -> Json:
    """Say which `schema` value a message carries; agents drop a message without it."""
    model = next((model for model in EXAMPLES if model.__name__ == name), None)
    if model is None:
        return schema
    properties = {**schema["properties"], "schema": {"const": model.KIND, "description": "Name and version."}}
    return {**schema, "properties": properties, "required": ["schema", *schema.get("required", [])]}


def _example(model: type[Message]) -> Json:
    example: Json = json.loads(EXAMPLES[model].to_json())
    return example


def _first_line(model: type[Message]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _address(path: str) -> str:
    return f"{DEFAULT_ROOT}/{VERSION}/{path}"


def _text(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
