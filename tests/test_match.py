from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.sends import SENT_AT, sent
from worker import match as ladder
from worker.domain import DeliveryReport, Kind, Match, OriginalMessage, RecipientReport, Rung, SentEmail
from worker.match import Doubtful, Key, Outcome, Seen, Unmatched, keys, send_keys


def report(
    ids: tuple[str, ...] = (), replies: tuple[str, ...] = (), tokens: tuple[str, ...] = (), envid: str | None = None
) -> DeliveryReport:
    original = OriginalMessage(message_id=ids[0] if ids else None, message_ids=ids, tokens=tokens)
    return DeliveryReport(kind=Kind.BOUNCE, detector="test", original=original, in_reply_to=replies, envelope_id=envid)


def index(*sends: SentEmail) -> dict[Key, list[SentEmail]]:
    found: dict[Key, list[SentEmail]] = {}
    for send in sends:
        for key in send_keys(send):
            found.setdefault(key, []).append(send)
    return found


SEEN = Seen(inbox="alice", address="alice@acme.example", at=SENT_AT + timedelta(minutes=3))


def match(
    told: DeliveryReport,
    recipient: RecipientReport | None,
    found: dict[Key, list[SentEmail]],
    around: tuple[SentEmail, ...] = (),
    **seen: Any,
) -> Outcome:
    return ladder.match(told, recipient, replace(SEEN, **seen), found, around)


BOB = RecipientReport(final_recipient="bob@customer.example")


def test_the_originals_message_id_is_the_strongest_proof():
    outcome = match(report(ids=("send-1@crm.example",), replies=("send-2@crm.example",)), BOB, index(sent(1), sent(2)))
    assert isinstance(outcome, Match)
    assert (outcome.send.id, outcome.rung, outcome.confidence) == ("s-1", Rung.ORIGINAL_MESSAGE_ID, 0.99)
    assert "send-1@crm.example" in outcome.evidence[0]


@pytest.mark.parametrize("field", ["tracking_id", "envelope_id"])
def test_a_token_of_the_crm_is_proof(field):
    send = sent(1, message_id=None, **{field: "tok-1"})
    told = report(tokens=("tok-1",)) if field == "tracking_id" else report(envid="tok-1")
    outcome = match(told, BOB, index(send))
    assert isinstance(outcome, Match)
    assert outcome.rung is Rung.TOKEN


def test_a_direct_reply_is_weaker_proof():
    outcome = match(report(replies=("send-1@crm.example",)), BOB, index(sent(1)))
    assert isinstance(outcome, Match)
    assert (outcome.rung, outcome.confidence) == (Rung.DIRECT_REPLY, 0.9)


def test_the_nearest_reply_of_a_thread_wins():
    outcome = match(report(replies=("send-2@crm.example", "send-1@crm.example")), BOB, index(sent(1), sent(2)))
    assert isinstance(outcome, Match)
    assert outcome.send.id == "s-2"


def test_mail_that_was_never_sent_through_the_crm_matches_nobody():
    assert match(report(ids=("private@laptop.example",)), BOB, index(sent(1))) == Unmatched()


def test_a_report_without_any_id_matches_nobody_even_if_the_recipient_was_written_to():
    assert match(report(), BOB, index(sent(1))) == Unmatched()


def test_a_recipient_that_the_email_did_not_have_is_left_to_a_person():
    outcome = match(
        report(ids=("send-1@crm.example",)), RecipientReport(final_recipient="eve@x.example"), index(sent(1))
    )
    assert isinstance(outcome, Doubtful)
    assert "eve@x.example" in outcome.why


def test_ids_of_one_send_and_recipients_of_another_are_left_to_a_person():
    told = report(ids=("send-1@crm.example",), replies=("send-2@crm.example",))
    outcome = match(
        told, RecipientReport(final_recipient="carol@x.example"), index(sent(1), sent(2, "carol@x.example"))
    )
    assert isinstance(outcome, Doubtful)


def test_a_forward_is_accepted_when_the_report_says_for_whom_and_is_shown_as_such():
    forwarded = RecipientReport(final_recipient="bob@home.example", original_recipient="Bob@Customer.example")
    outcome = match(report(ids=("send-1@crm.example",)), forwarded, index(sent(1)))
    assert isinstance(outcome, Match)
    assert outcome.recipient.address == "bob@customer.example"
    assert outcome.forwarded_to == "bob@home.example"


def test_a_notice_that_names_no_recipient_answers_an_email_to_one_person_only():
    one = match(report(ids=("send-1@crm.example",)), None, index(sent(1)))
    several = match(report(ids=("send-1@crm.example",)), None, index(sent(1, "a@x.example", "b@x.example")))
    assert isinstance(one, Match)
    assert one.confidence < 0.9
    assert isinstance(several, Doubtful)


def test_addresses_are_compared_without_case():
    shouting = RecipientReport(final_recipient="<BOB@CUSTOMER.EXAMPLE>")
    assert isinstance(match(report(ids=("send-1@crm.example",)), shouting, index(sent(1))), Match)


def test_keys_come_strongest_first_without_repeats_or_empty_ones():
    told = report(ids=("a@x", "a@x", ""), tokens=("t",), replies=("b@x",))
    assert [(proof.rung, proof.key.value) for proof in keys(told)] == [
        (Rung.ORIGINAL_MESSAGE_ID, "a@x"),
        (Rung.TOKEN, "t"),
        (Rung.DIRECT_REPLY, "b@x"),
    ]


# ── thread ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_thread_is_proof_together_with_the_recipient():
    outcome = match(report(), BOB, index(sent(1, thread_id="t-1")), thread_id="t-1")
    assert isinstance(outcome, Match)
    assert outcome.rung is Rung.THREAD


def test_a_thread_without_the_recipient_proves_nothing():
    eve = RecipientReport(final_recipient="eve@x.example")
    assert match(report(), eve, index(sent(1, thread_id="t-1")), thread_id="t-1") == Unmatched()


# ── separate notices ─────────────────────────────────────────────────────────────────────────────────────────────────


def separate(subject: str | None = "Quarterly offer", sender: str = "postmaster@customer.example") -> DeliveryReport:
    text = f"Your email could not be delivered. Subject: {subject}" if subject else "Your email could not be delivered."
    return DeliveryReport(kind=Kind.BOUNCE, detector="plain", sender=sender, subject="Delivery failure", text=text)


OFFER = sent(1, subject="Quarterly offer", message_id="x@crm.example")


def test_a_separate_notice_with_recipient_inbox_time_and_subject_attaches():
    outcome = match(separate(), BOB, {}, (OFFER,))
    assert isinstance(outcome, Match)
    assert outcome.rung is Rung.SEPARATE_NOTICE
    assert 0.8 <= outcome.confidence < 0.9
    assert any("subject" in line for line in outcome.evidence)


def test_without_the_subject_a_person_decides_and_sees_the_candidate():
    outcome = match(separate(None), BOB, {}, (OFFER,))
    assert isinstance(outcome, Doubtful)
    assert [candidate.send.id for candidate in outcome.candidates] == ["s-1"]
    assert 0.5 < outcome.confidence < 0.8


def test_the_same_recipient_written_to_twice_with_one_subject_is_left_to_a_person_with_the_later_first():
    later = sent(2, subject="Quarterly offer", sent_at=SENT_AT + timedelta(minutes=1))
    outcome = match(separate(), BOB, {}, (OFFER, later))
    assert isinstance(outcome, Doubtful)
    assert [candidate.send.id for candidate in outcome.candidates] == ["s-2", "s-1"]


def test_another_subject_speaks_against_an_email():
    other = sent(2, subject="Invoice 4711", sent_at=SENT_AT + timedelta(minutes=1))
    outcome = match(separate(), BOB, {}, (OFFER, other))
    assert isinstance(outcome, Match)
    assert outcome.send.id == "s-1"


def test_a_subject_that_is_given_back_and_differs_does_not_attach():
    told = replace(separate(None), original=OriginalMessage(subject="Something private"))
    outcome = match(told, BOB, {}, (OFFER,))
    assert isinstance(outcome, Doubtful)
    assert outcome.confidence < 0.5


@pytest.mark.parametrize(
    "seen",
    [{"at": SENT_AT + timedelta(days=6)}, {"at": SENT_AT - timedelta(hours=2)}],
    ids=["too late", "before it was sent"],
)
def test_outside_the_window_nobody_is_meant(seen):
    assert match(separate(), BOB, {}, (OFFER,), **seen) == Unmatched()


def test_another_inbox_of_the_account_is_weaker():
    assert isinstance(match(separate(), BOB, {}, (OFFER,), inbox="team"), Doubtful)


def test_a_recipient_to_whom_nobody_wrote_touches_nobody():
    eve = RecipientReport(final_recipient="eve@x.example")
    assert match(separate(), eve, {}, (OFFER,)) == Unmatched()


def test_a_notice_that_names_a_foreign_id_is_never_scored():
    told = replace(separate(), original=OriginalMessage(message_ids=("private@laptop.example",)))
    assert match(told, BOB, {}, (OFFER,)) == Unmatched()


def test_a_score_never_says_as_much_as_proof_by_id():
    told = replace(
        separate(), original=OriginalMessage(subject="Quarterly offer", date="Sun, 22 Nov 2026 10:00:30 +0000")
    )
    outcome = match(told, BOB, {}, (OFFER,))
    assert isinstance(outcome, Match)
    assert outcome.confidence < 0.9


@pytest.mark.parametrize(
    ("authserv_id", "results", "attached"),
    [
        ("mx.acme.example", "mx.acme.example; dmarc=fail header.from=customer.example", False),
        ("mx.acme.example", "mx.acme.example; dmarc=pass header.from=customer.example", True),
        ("mx.acme.example", "forged.example; dmarc=fail", True),
        (None, "mx.acme.example; dmarc=fail", True),
    ],
    ids=["own provider, failed", "own provider, passed", "somebody else's", "none is believed"],
)
def test_only_the_inboxes_own_provider_is_believed_about_authentication(authserv_id, results, attached):
    told = replace(separate(), authentication_results=(results,))
    assert isinstance(match(told, BOB, {}, (OFFER,), authserv_id=authserv_id), Match) is attached


def test_authentication_counts_for_nothing_against_proof_by_id():
    told = replace(report(ids=("send-1@crm.example",)), authentication_results=("mx.acme.example; dmarc=fail",))
    outcome = match(told, BOB, index(sent(1)), authserv_id="mx.acme.example")
    assert isinstance(outcome, Match)
    assert outcome.confidence == 0.99
