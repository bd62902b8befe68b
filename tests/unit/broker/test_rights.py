"""Who may do what: the access matrix in words, and rules that follow from it."""

import pytest

from ramshare.broker.matrix import ROLES, account_of, covers, rights_of, rows, table
from ramshare.broker.rights import BRIDGE, bridge_rights, bridged, own_rights, role_rights
from ramshare.broker.rules import guests_rules, hosts_rules
from ramshare.topics import ALLOWED, MANAGER, STATES

pytestmark = pytest.mark.unit

V1 = "ramshare/v1"
WRITERS = {
    f"{V1}/state/{{me}}/status": {"guest", "lender", "borrower", MANAGER},
    f"{V1}/state/{{me}}/memory": {"guest", "lender"},
    f"{V1}/state/{{me}}/offer": {"lender"},
    f"{V1}/state/{{me}}/decisions": {"lender", "borrower"},
    f"{V1}/state/{{me}}/export/l1": {"lender"},
    f"{V1}/state/{{me}}/lease/l1": {"borrower", MANAGER},
    f"{V1}/state/{{me}}/volume/vg0/swap": {"borrower"},
    f"{V1}/state/{{me}}/key": {"borrower"},
    f"{V1}/state/{{me}}/claim": {MANAGER},
    f"{V1}/state/{{me}}/guest/other": {"borrower"},
    f"{V1}/state/{{me}}/summary": {MANAGER},
    f"{V1}/state/{{me}}/host/hosta": {MANAGER},
    f"{V1}/state/guest.other/status": {BRIDGE},
    f"{V1}/state/guest.other/memory": {BRIDGE},
    f"{V1}/event/{{me}}/step": {"lender", "borrower", MANAGER},
    f"{V1}/request/borrower.other/{{me}}/borrow": {"cli"},
    f"{V1}/request/borrower.other/{{me}}/return": {"cli"},
    f"{V1}/request/borrower.other/{{me}}/vacate": {"lender"},
    f"{V1}/request/manager/{{me}}/borrow": {"borrower", "cli"},  # the verb decides; the manager refuses a person
    f"{V1}/request/lender.other/{{me}}/export": {MANAGER},
    f"{V1}/request/lender.other/{{me}}/release": {"borrower", MANAGER},
    f"{V1}/request/lender.other/{{me}}/confirm": {MANAGER},
    f"{V1}/request/lender.other/{{me}}/drain": {"cli"},
    f"{V1}/request/lender.other/{{me}}/undrain": {"cli"},
    f"{V1}/request/all/{{me}}/announce": {MANAGER},
    f"{V1}/request/host/{{me}}/borrow": {"guest", "cli"},  # likewise; borrowers hear there by guests' names only
    f"{V1}/request/host/{{me}}/return": {"guest", "cli"},
    f"{V1}/request/host/guest.other/borrow": {BRIDGE},
    f"{V1}/request/host/guest.other/return": {BRIDGE},
    f"{V1}/reply/guest.other/host": {"borrower"},
    f"{V1}/reply/cli.other/{{me}}": {"lender", "borrower", MANAGER},
}
"""Topic to who may write it, written down by hand; nobody else writes these, and nobody writes any other row."""


def test_the_matrix_says_who_may_write_what_and_nobody_else() -> None:
    for row in rows():
        of_role = {kind for kind in ROLES if any(covers(r, row.of(account_of(kind))) for r in rights_of(kind).write)}
        if row.topic == f"{V1}/request/{{me}}/manager/{row.topic.rpartition('/')[2]}":
            of_role.discard(MANAGER)  # to itself, which it never does
        own = {MANAGER} if row.topic.startswith((f"{V1}/state/manager/", f"{V1}/event/manager/")) else set()
        assert of_role == WRITERS.get(row.topic, own), row


def test_a_guest_reads_its_own_and_replies_to_itself_and_nothing_else() -> None:
    read = [row.topic for row, (_, _, cells) in zip(rows(), table(), strict=True) if "r" in cells["guest"]]
    assert all("/{me}/" in topic for topic in read)
    assert not any(topic.startswith(f"{V1}/request/") for topic in read)


@pytest.mark.parametrize("kind", ["guest", "lender", "borrower", MANAGER, "dashboard"])
def test_only_people_subscribe_to_what_they_like(kind: str) -> None:
    assert rights_of(kind).subscribe_within == ()


def test_each_role_may_ask_for_what_servers_accept_from_it() -> None:
    for (server, verb), roles in ALLOWED.items():
        for kind in roles:
            place = server if server in (MANAGER, "all", "host") else f"{server}.x"
            me = account_of(kind)
            assert any(covers(rule, f"{V1}/request/{place}/{me}/{verb}") for rule in own_rights(me).write)


def test_what_agents_say_of_themselves_the_broker_takes() -> None:
    for kind, models in STATES.items():
        me = account_of(kind)
        for path in models:
            topic = f"{V1}/state/{me}/{path.replace('+', 'x')}"
            assert any(covers(rule, topic) for rule in own_rights(me).write)


def test_of_several_managers_each_hears_and_answers_what_managers_are_asked_and_says_of_itself_alone() -> None:
    rights = own_rights("manager.hosta") + role_rights(MANAGER)
    assert f"{V1}/request/manager/+/+" in rights.subscribe
    assert any(covers(rule, f"{V1}/request/manager/borrower.b/borrow") for rule in rights.read)
    assert any(covers(rule, f"{V1}/state/manager.hostb/claim") for rule in rights.read)

    def may_write(topic: str) -> bool:
        return any(covers(rule, f"{V1}/{topic}") for rule in rights.write)

    assert all(map(may_write, ("reply/borrower.b/manager", "state/manager.hosta/claim", "event/manager.hosta/granted")))
    assert may_write("request/lender.a/manager.hosta/export")
    for foreign in ("state/manager.hostb/claim", "event/manager/granted", "request/lender.a/manager.hostb/export"):
        assert not may_write(foreign)


def test_a_lender_subscribes_to_the_guests_there_are_and_to_no_other() -> None:
    wanted = role_rights("lender", ("web1", "web2")).subscribe
    assert f"{V1}/state/guest.web1/memory" in wanted
    assert f"{V1}/state/guest.web3/memory" not in wanted
    assert f"{V1}/state/+/memory" not in wanted


def test_another_root_is_another_cluster() -> None:
    written = bridge_rights(("web1",), "test").write
    assert written == (
        "test/v1/state/guest.web1/status",
        "test/v1/state/guest.web1/memory",
        "test/v1/request/host/guest.web1/borrow",
        "test/v1/request/host/guest.web1/return",
    )


def test_the_bridge_carries_guests_words_and_questions_out_and_their_hosts_answers_in_and_nothing_else() -> None:
    assert set(bridged()) == {
        (f"{V1}/state/+/status", "out"),
        (f"{V1}/state/+/memory", "out"),
        (f"{V1}/request/host/+/borrow", "out"),
        (f"{V1}/request/host/+/return", "out"),
        (f"{V1}/reply/+/host", "in"),
    }


def test_a_borrower_hears_and_answers_the_guests_there_are_and_no_others() -> None:
    rights = role_rights("borrower", ("web1",))
    assert f"{V1}/request/host/guest.web1/+" in rights.subscribe
    assert f"{V1}/state/+/guest/web1" in rights.subscribe
    assert not any(topic_filter.startswith(f"{V1}/request/host/+") for topic_filter in rights.subscribe)
    assert rights.write == (f"{V1}/reply/guest.web1/host",)


def test_no_rule_says_no_and_nothing_is_allowed_that_no_rule_names() -> None:
    for document in (hosts_rules(["lender.hosta", MANAGER], ["web1"]), guests_rules(["web1"])):
        assert document["defaultACLAccess"] == {
            "publishClientSend": False,
            "publishClientReceive": False,
            "subscribe": False,
            "unsubscribe": True,
        }
        assert all(rule["allow"] for role in document["roles"] for rule in role["acls"])
