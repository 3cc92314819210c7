"""What reading an inbox may cost. The figures are upper bounds: whoever raises one says why."""

import pytest

from tests.benchmarks import budget
from tests.benchmarks.budget import FIRST, IDLE, NOTICES, ORDINARY, imap, notice, play, table
from tests.connectors.mailboxes import LONG_AGO, ImapMailbox
from tests.fakes.wire import Cost, Wire

LIMITS = {
    IDLE: Cost(round_trips=6, sent=250, received=1_500),
    ORDINARY: Cost(round_trips=8, sent=900, received=150_000),
    NOTICES: Cost(round_trips=18, sent=1_400, received=165_000),
    FIRST: Cost(round_trips=23, sent=7_500, received=1_500_000),
}
A_MESSAGE = 4 * 1024


@pytest.mark.parametrize("scene", LIMITS, ids=lambda scene: scene.name)
def test_imap_stays_within_its_budget(mail_stack, scene):
    cost, limit = play(scene, imap(mail_stack)), LIMITS[scene]
    assert cost.round_trips <= limit.round_trips
    assert cost.sent <= limit.sent
    assert cost.received <= limit.received


def test_an_ordinary_message_costs_its_header_and_never_its_body(mail_stack):
    idle, ordinary = (play(scene, imap(mail_stack)) for scene in (IDLE, ORDINARY))
    assert ordinary.sent + ordinary.received - idle.sent - idle.received <= ORDINARY.ordinary * A_MESSAGE


def test_an_idle_poll_asks_for_a_status_per_folder_and_nothing_else(mail_stack):
    wire = Wire()
    mailbox = ImapMailbox(mail_stack, wire=wire)
    cursor = mailbox.connector().poll(LONG_AGO).cursor
    wire.take()
    connector = mailbox.connector()
    connector.poll(cursor)
    connector.close()
    asked = [question.split()[1] for question in wire.questions]
    assert asked == ["LOGIN", "STATUS", "STATUS", "STATUS", "LOGOUT"]
    mailbox.close()


def test_notices_are_fetched_with_one_question_each(mail_stack):
    wire = Wire()
    mailbox = ImapMailbox(mail_stack, wire=wire)
    mailbox.deliver_all([notice(1), notice(2)])
    connector = mailbox.connector()
    envelopes = connector.poll(LONG_AGO).envelopes
    wire.take()
    for envelope in envelopes:
        connector.fetch(envelope.ref, 100_000)
    assert [question.split()[1:3] for question in wire.questions] == [["UID", "FETCH"]] * 2
    mailbox.close()


def test_the_table_has_a_line_for_each_scene_of_each_kind(mail_stack, monkeypatch):
    monkeypatch.setattr(budget, "SCENES", (IDLE,))
    lines = list(table({"One": imap(mail_stack), "Another": imap(mail_stack)}))
    assert [line.split(" | ")[:2] for line in lines[2:]] == [["| One", "idle"], ["| Another", "idle"]]
    assert all(line.count("|") == lines[0].count("|") for line in lines)
