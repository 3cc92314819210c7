"""What one report comes to: words without a public source only ever lead to a person."""

from pathlib import Path

import pytest

from tests.fakes.sends import SENT_AT, sent
from worker.classify import classify, default_rule_paths, load_rules
from worker.domain import Action, DeliveryReport, EnhancedStatusCode, Kind, OriginalMessage, RecipientReport
from worker.judge import Notice, judge
from worker.match import send_keys

GUESSED = """
version = "1"
[[rule]]
name = "xx.guessed"
contains = ["nobody of that name"]
type = "hard"
reason = "unknown_user"
fault = "address"
verified = false
example = "nobody of that name"
"""
KNOWN = GUESSED.replace("xx.guessed", "xx.known").replace("verified = false", 'source = "example.test/notice"')


@pytest.fixture
def rules(tmp_path: Path):
    def load(text: str):
        path = tmp_path / "phrases.xx.toml"
        path.write_text(text)
        return load_rules([path, *default_rule_paths()])

    return load


def judged(rules, **facts):
    bob = RecipientReport(final_recipient="bob@customer.example", **facts)
    original = OriginalMessage(message_id="send-1@crm.example", message_ids=("send-1@crm.example",))
    report = DeliveryReport(kind=Kind.BOUNCE, detector="test", recipients=(bob,), original=original)
    notice = Notice(report_id="r-1", report=report, inbox="alice", found_at=SENT_AT, read_by="test")
    return judge(notice, {key: [sent(1)] for key in send_keys(sent(1))}, rules)


def test_words_without_a_source_lead_to_a_person_though_the_email_is_proven(rules):
    result = judged(rules(GUESSED), text="Nobody of that name")
    assert result.findings == ()
    (doubt,) = result.doubts
    assert doubt.outcome.why == "the words that decided are not verified"
    assert doubt.outcome.candidates[0].recipient.address == "bob@customer.example"
    assert (doubt.verdict.rule, doubt.verdict.verified) == ("xx.guessed", False)


def test_words_with_a_source_decide(rules):
    (finding,) = judged(rules(KNOWN), text="Nobody of that name").findings
    assert (finding.verdict.rule, finding.verdict.verified) == ("xx.known", True)


@pytest.mark.parametrize("facts", [{"status": EnhancedStatusCode(5, 2, 2)}, {"diagnostic_code": "mailbox full"}])
def test_a_clear_code_and_verified_words_are_not_overruled_by_a_guess(rules, facts):
    (finding,) = judged(rules(GUESSED), text="Nobody of that name", **facts).findings
    assert finding.verdict.rule != "xx.guessed"


def test_a_guess_never_speaks_in_the_servers_own_words(rules):
    report = DeliveryReport(kind=Kind.BOUNCE, detector="test")
    said = RecipientReport(
        final_recipient="bob@customer.example", action=Action.FAILED, diagnostic_code="nobody of that name"
    )
    assert classify(rules(GUESSED), report, said).rule == "anything-else"
