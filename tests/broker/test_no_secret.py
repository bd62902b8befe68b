"""A grant goes over a real broker: its secret is in no database and no log, nor is any client's key."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from ramshare.bus.api import RequestArrived
from ramshare.bus.mqtt import MqttBus
from ramshare.contract.examples import EXAMPLES
from ramshare.linux.run import SystemRunner
from ramshare.messages.replies import ExportReply
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import Export, Status
from ramshare_lab.cluster.broker import RunningBroker, start_broker
from ramshare_lab.cluster.secret_search import Secret, in_files, search

pytestmark = pytest.mark.broker
ACCOUNTS = ["lender.hosta", "manager", "guest.web1"]
CHAP = "0pen-Sesame-1234"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with start_broker(SystemRunner(), tmp_path / "broker", ACCOUNTS) as running:
        yield running


def test_a_grants_secret_is_in_no_database_and_no_log(broker: RunningBroker, tmp_path: Path) -> None:
    lender, manager, guest = (MqttBus(broker.settings(client), client) for client in ACCOUNTS)
    asked, granted = EXAMPLES[ExportLease], EXAMPLES[ExportReply]
    assert isinstance(asked, ExportLease)
    assert isinstance(granted, ExportReply)
    assert granted.grant is not None
    for bus in (lender, manager, guest):
        bus.connect()
        bus.set_state("status", Status(status="online"))
    lender.set_state(f"export/{asked.lease}", EXAMPLES[Export].model_copy(update={"lease": asked.lease}))
    future = manager.ask("lender.hosta", asked, 30.0)
    arrived = lender.next(30.0)
    while not isinstance(arrived, RequestArrived):
        arrived = lender.next(30.0)
    grant = granted.grant.model_copy(update={"sealed_secrets": SecretStr(CHAP)})
    lender.answer(arrived, granted.model_copy(update={"request_id": asked.request_id, "grant": grant}))
    answer = future.result(30)
    assert isinstance(answer, ExportReply)
    assert answer.grant is not None
    assert answer.grant.sealed_secrets.get_secret_value() == CHAP
    for bus in (lender, manager, guest):
        bus.close()
    broker.close()

    secrets, places = in_files(tmp_path)
    searched = search([Secret("the CHAP secret", CHAP.encode()), *secrets], places)
    assert searched.found == ()
    assert len({secret.what for secret in secrets}) >= 2, "the key of each client at least"
    stored = [content for where, content in places if where.endswith(".db")]
    assert any(asked.lease.encode() in content for content in stored), "the database was searched"
