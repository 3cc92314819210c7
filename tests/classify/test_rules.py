"""The rule files: each rule speaks for its own example, none is hidden behind an earlier one."""

import re

import pytest

from worker.classify import RuleError, classify, default_rule_paths, load_rules
from worker.detect.smtp_reply import find_reply
from worker.domain import (
    Action,
    BounceType,
    DeliveryReport,
    EnhancedStatusCode,
    Fault,
    Kind,
    Reason,
    RecipientReport,
)

RULES = load_rules(default_rule_paths())
REPORT = DeliveryReport(kind=Kind.BOUNCE, detector="test")


def recipient(words, action=Action.FAILED, **known):
    reply = find_reply(words)
    facts = {"status": reply.status, "smtp_code": reply.code, "diagnostic_code": words} | known
    return RecipientReport(final_recipient="bob@customer.test", action=action, **facts)


def verdict(words, action=Action.FAILED, **known):
    return classify(RULES, REPORT, recipient(words, action, **known))


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.name)
def test_every_rule_is_reached_by_its_example(rule):
    assert rule.example, "a rule without an example"
    if special := re.fullmatch(r"status ([\d.]+)", rule.example):
        spoken = verdict("", status=EnhancedStatusCode.parse(special.group(1)))
    elif special := re.fullmatch(r"action (\w+)", rule.example):
        spoken = verdict("", Action(special.group(1)))
    else:
        spoken = verdict(rule.example) if rule.verified else verdict("", text=rule.example)
    assert spoken.rule == rule.name


def asked_before(rule):
    """Rules that are not verified are asked when all others have been."""
    place = RULES.rules.index(rule)
    return [
        other
        for at, other in enumerate(RULES.rules)
        if (at < place if other.verified is rule.verified else other.verified)
    ]


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.name)
def test_no_phrase_is_hidden_by_an_earlier_rule_of_its_own_words(rule):
    """A phrase that holds another rule's phrase would never be reached: it would be dead knowledge."""
    earlier = [
        (other.name, word)
        for other in asked_before(rule)
        for word in other.contains
        if not (other.text or other.status or other.smtp_code)
    ]
    assert not [(phrase, *by) for phrase in rule.contains for by in earlier if not rule.text and by[1] in phrase]


@pytest.mark.parametrize(
    ("text", "action", "type_", "reason", "fault"),
    [
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound", Action.FAILED, "hard", "unknown_user", "address"),
        ("550 5.4.1 Recipient address rejected: Access denied", Action.FAILED, "hard", "unknown_user", "address"),
        ("554 5.7.1 <a@b.test>: Recipient address rejected: Access denied", Action.FAILED, "hard", "policy", "sender"),
        ("452 4.2.2 The recipient's inbox is out of storage space", Action.FAILED, "hard", "mailbox_full", "address"),
        ("452 4.2.2 Mailbox full", Action.DELAYED, "pending", "recipient_temporary", "address"),
        ("550 5.7.509 a.test has a DMARC policy of reject", Action.FAILED, "soft", "sender_not_authorised", "sender"),
        ("421 4.7.26 This mail is unauthenticated", Action.FAILED, "soft", "security_filter", "sender"),
        ("421 4.7.0 [TSS04] temporarily deferred", Action.FAILED, "soft", "security_filter", "sender"),
        ("550 5.7.1 blocked using zen.spamhaus.org", Action.FAILED, "hard", "spam", "sender"),
        ("550 5.7.708 Access denied, traffic not accepted from this IP", Action.FAILED, "hard", "spam", "sender"),
        ("550 5.4.300 Message expired", Action.FAILED, "soft", "temporary", "network"),
        ("451 4.3.0 internal", Action.FAILED, "soft", "recipient_temporary", "recipient_server"),
        ("could not be delivered for 14 seconds", Action.FAILED, "soft", "temporary", "network"),
        ("450 4.1.1 User unknown", Action.FAILED, "soft", "recipient_temporary", "address"),
        ("552 5.7.0 illegal attachment", Action.FAILED, "hard", "content", "content"),
    ],
)  # fmt: skip
def test_the_table_of_verdicts(text, action, type_, reason, fault):
    spoken = verdict(text, action)
    assert (spoken.type, spoken.reason, spoken.fault) == (BounceType(type_), Reason(reason), Fault(fault))


def test_the_verdict_shows_the_words_that_matched_and_the_rules_version():
    spoken = verdict("550 5.2.2 Mailbox FULL")
    assert spoken.matched_text == "mailbox full"
    assert spoken.rules_version == RULES.version
    assert "phrases.en@" in RULES.version


def test_prose_is_asked_only_where_the_codes_are_vague():
    prose = "the mailbox is full or the user is unknown"
    assert verdict("550 5.1.1 no", text=prose).reason is Reason.UNKNOWN_USER
    assert verdict("550 5.0.0 no", text=prose).reason is Reason.MAILBOX_FULL


def test_an_operators_file_goes_first(tmp_path):
    own = tmp_path / "own.toml"
    rule = 'name="own"\ncontains=["mailbox is full"]\ntype="hard"\nreason="other"\nfault="address"\n'
    own.write_text(f'version="1"\n[[rule]]\n{rule}')
    rules = load_rules([own, *default_rule_paths()])
    assert classify(rules, REPORT, recipient("552 5.2.2 Mailbox is full")).rule == "own"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("[[rule]", "is no TOML"),
        ("[[rule]]\nname='a'", "has no version"),
        ("version='1'\n[[rule]]\nreason='spam'", "a rule has no name"),
        ("version='1'\n[[rule]]\nname='a'\ntype='hard'\nreason='spam'", "rule 'a': has no fault"),
        ("version='1'\n[[rule]]\nname='a'\ntype='hard'\nreason='tired'\nfault='sender'", "rule 'a': 'tired'"),
        ("version='1'\n[[rule]]\nname='a'\ntype='soft'\nreason='spam'\nfault='sender'", "don't go together"),
        ("version='1'\n[[rule]]\nname='a'\ntype='hard'\nreason='spam'\nfault='sender'", "has no condition"),
        ("version='1'\n[[rule]]\nname='a'\ntype='hard'\nreason='spam'\nfault='sender'\ntext='('", "rule 'a'"),
        ("version='1'\n[[rule]]\nname='a'\ntype='hard'\nreason='spam'\nfault='sender'\ntext='(a+)+'", "for ever"),
        (
            "version='1'\n[[rule]]\nname='a'\ntype='hard'\nreason='spam'\nfault='sender'\ncontains=['Full']",
            "lower case",
        ),
        (
            "version='1'\n[[rule]]\nname='a'\ntype='hard'\nreason='spam'\nfault='sender'\ncolour='red'",
            "unknown key 'colour'",
        ),
    ],
)
def test_a_bad_file_names_itself_and_the_rule(tmp_path, body, words):
    path = tmp_path / "bad.toml"
    path.write_text(body)
    with pytest.raises(RuleError, match=re.escape(words)) as caught:
        load_rules([path])
    assert "bad.toml" in str(caught.value)


def test_a_missing_file_and_a_name_used_twice_are_refused(tmp_path):
    with pytest.raises(RuleError, match="can't be read"):
        load_rules([tmp_path / "none.toml"])
    with pytest.raises(RuleError, match="two rules are called"):
        load_rules([*default_rule_paths(), *default_rule_paths()])
