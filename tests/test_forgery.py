"""Notices that were made up: whatever they claim, they touch nobody, or wait for a person."""

from pathlib import Path

from tests.fakes.notices import NOW, dsn
from tests.fakes.sends import sent
from worker.classify import default_rule_paths, load_rules
from worker.detect import detect
from worker.domain import SentEmail
from worker.judge import Judgement, Notice, judge
from worker.match import Key, send_keys

CORPUS = Path(__file__).parent / "corpus"
RULES = load_rules(default_rule_paths())
FAILED = ("failed", "5.1.1", "smtp; 550 5.1.1 User unknown")


def judged(raw: bytes, *sends: SentEmail) -> Judgement:
    found: dict[Key, list[SentEmail]] = {}
    for send in sends:
        for key in send_keys(send):
            found.setdefault(key, []).append(send)
    notice = Notice(
        report_id="r", report=detect(raw), inbox="alice", inbox_address="a@acme.example", found_at=NOW, read_by="test"
    )
    return judge(notice, found, RULES, sends)


def test_recipients_that_we_never_wrote_to_and_no_id_of_ours_touch_nobody():
    assert judged(dsn("made-up@evil.example", [("ceo@victim.example", *FAILED)]), sent(1)) == Judgement()


def test_an_id_of_ours_with_another_recipient_waits():
    result = judged(dsn(recipients=[("ceo@victim.example", *FAILED)]), sent(1))
    assert result.findings == ()
    assert "ceo@victim.example" in result.doubts[0].outcome.why


def test_an_id_of_one_send_with_the_recipient_of_another_waits():
    result = judged(dsn(recipients=[("carol@x.example", *FAILED)]), sent(1), sent(2, "carol@x.example"))
    assert result.findings == ()
    assert len(result.doubts) == 1


def test_two_blocks_that_contradict_each_other_wait():
    bob = "bob@customer.example"
    result = judged(dsn(recipients=[(bob, *FAILED), (bob, "delivered", "2.0.0", "smtp; 250 ok")]), sent(1))
    assert result.findings == ()
    assert "served as well" in result.doubts[0].outcome.why


def test_one_notice_with_two_blocks_is_one_finding_a_recipient():
    bob = "bob@customer.example"
    result = judged(dsn(recipients=[(bob, *FAILED), (bob, *FAILED)]), sent(1))
    assert len(result.findings) == 1


def test_a_recipient_that_was_served_is_untouched_beside_one_that_failed():
    people = ("bob@customer.example", "carol@customer.example")
    told = dsn(recipients=[(people[0], *FAILED), (people[1], "relayed", "2.0.0", "smtp; 250 ok")])
    result = judged(told, sent(1, *people))
    assert [finding.recipient.final_recipient for finding in result.findings] == [people[0]]
    assert result.doubts == ()


def test_a_token_that_is_not_the_emails_gives_a_guessed_message_id_away():
    told = dsn().replace(b"Subject: Offer", b"Subject: Offer\r\nX-CRM-Tracking-ID: guessed")
    result = judged(told, sent(1, tracking_id="9f86d081884c7d65"))
    assert result.findings == ()
    assert "token" in result.doubts[0].outcome.why


def test_the_token_of_the_email_confirms_it():
    told = dsn().replace(b"Subject: Offer", b"Subject: Offer\r\nX-CRM-Tracking-ID: 9f86d081884c7d65")
    assert len(judged(told, sent(1, tracking_id="9f86d081884c7d65")).findings) == 1


def test_a_forward_that_exim_tells_of_is_shown_as_such():
    raw = (CORPUS / "made/exim-forwarded.eml").read_bytes()
    (finding,) = judged(raw, sent(1, message_id="offer-82@crm.sender.example")).findings
    assert finding.match.recipient.address == "bob@customer.example"
    assert finding.match.forwarded_to == "gone@elsewhere.example"
