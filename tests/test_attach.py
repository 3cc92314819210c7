from datetime import timedelta
from itertools import permutations

import pytest

from tests.fakes.notices import NOW
from tests.fakes.sends import sent
from worker.attach import Changes, attach
from worker.domain import (
    AccountRules,
    AddressState,
    Bounce,
    BounceType,
    EventType,
    Fault,
    Finding,
    Match,
    Policy,
    Reason,
    RecipientReport,
    Rung,
    SendKind,
    Verdict,
)

CLEAN = AddressState(account="acme", address="bob@customer.example")
HUBSPOT = AccountRules(account="acme")
CAREFUL = AccountRules(account="acme", policy=Policy.CAREFUL)


def finding(
    type_: BounceType = BounceType.HARD,
    reason: Reason = Reason.UNKNOWN_USER,
    fault: Fault = Fault.ADDRESS,
    report_id: str = "r-1",
    minutes: int = 0,
    **send: object,
) -> Finding:
    email = sent(1, **send)
    return Finding(
        report_id=report_id,
        match=Match(
            send=email, recipient=email.recipients[0], rung=Rung.ORIGINAL_MESSAGE_ID, confidence=0.99, evidence=()
        ),
        recipient=RecipientReport(final_recipient="bob@customer.example"),
        verdict=Verdict(type=type_, reason=reason, fault=fault, rule="r", rules_version="1"),
        occurred_at=NOW + timedelta(minutes=minutes),
        evidence=(),
    )


PENDING = finding(BounceType.PENDING, Reason.TEMPORARY, Fault.NETWORK, "r-0", -60)
HARD = finding()


def test_a_first_report_makes_a_bounce_and_tells_the_crm():
    changes = attach(None, CLEAN, HARD, HUBSPOT, NOW)
    assert changes.bounce is not None
    assert [event.type for event in changes.events] == [EventType.BOUNCE_ATTACHED, EventType.CONTACT_EXCLUDED]


def test_the_same_report_twice_changes_nothing():
    first = attach(None, CLEAN, HARD, HUBSPOT, NOW)
    assert attach(first.bounce, CLEAN, HARD, HUBSPOT, NOW) == Changes()


def test_a_failure_supersedes_a_delay_and_a_late_delay_does_not_take_it_back():
    delayed = attach(None, CLEAN, PENDING, HUBSPOT, NOW)
    failed = attach(delayed.bounce, CLEAN, HARD, HUBSPOT, NOW)
    late = finding(BounceType.PENDING, Reason.TEMPORARY, Fault.NETWORK, "r-9", 60)
    assert failed.bounce is not None
    assert failed.bounce.verdict.type is BounceType.HARD
    assert failed.events[0].type is EventType.BOUNCE_UPDATED
    assert attach(failed.bounce, CLEAN, late, HUBSPOT, NOW) == Changes()


def test_the_order_in_which_reports_arrive_does_not_matter():
    reports = (PENDING, HARD, finding(BounceType.SOFT, Reason.TEMPORARY, Fault.NETWORK, "r-2", 5))
    ends = set()
    for order in permutations(reports):
        bounce: Bounce | None = None
        for one in order:
            bounce = attach(bounce, CLEAN, one, HUBSPOT, NOW).bounce or bounce
        assert bounce is not None
        ends.add((bounce.verdict.type, bounce.report_id, bounce.occurred_at))
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("rules", "kind", "fault", "excluded"),
    [
        (HUBSPOT, BounceType.HARD, Fault.SENDER, True),
        (HUBSPOT, BounceType.SOFT, Fault.ADDRESS, False),
        (HUBSPOT, BounceType.PENDING, Fault.NETWORK, False),
        (CAREFUL, BounceType.HARD, Fault.ADDRESS, True),
        (CAREFUL, BounceType.HARD, Fault.SENDER, False),
        (CAREFUL, BounceType.HARD, Fault.CONTENT, False),
    ],
)
def test_what_excludes_an_address_is_the_policys_to_say(rules, kind, fault, excluded):
    changes = attach(None, CLEAN, finding(kind, Reason.POLICY, fault), rules, NOW)
    assert (changes.address is not None and changes.address.excluded_by is rules.policy) is excluded
    assert changes.bounce is not None
    assert changes.bounce.policy is rules.policy


def test_an_excluded_address_is_not_excluded_again():
    before = attach(None, CLEAN, HARD, HUBSPOT, NOW).address
    assert before is not None
    later = attach(None, before, finding(report_id="r-5", id="s-2"), HUBSPOT, NOW)
    assert EventType.CONTACT_EXCLUDED not in [event.type for event in later.events]


def test_a_bounce_ends_its_sequence_once_and_a_delay_does_not():
    sequence = {"kind": SendKind.SEQUENCE, "enrollment_id": "e-1", "sequence_id": "q-1"}
    delayed = finding(BounceType.PENDING, Reason.TEMPORARY, Fault.NETWORK, "r-0", -60, **sequence)
    first = attach(None, CLEAN, delayed, HUBSPOT, NOW)
    assert EventType.SEQUENCE_UNENROLL not in [event.type for event in first.events]
    soft = finding(BounceType.SOFT, Reason.TEMPORARY, Fault.NETWORK, "r-1", 0, **sequence)
    second = attach(first.bounce, CLEAN, soft, HUBSPOT, NOW)
    ended = [event for event in second.events if event.type is EventType.SEQUENCE_UNENROLL]
    assert [(event.enrollment_id, event.sequence_id) for event in ended] == [("e-1", "q-1")]
    third = attach(second.bounce, CLEAN, finding(report_id="r-2", minutes=9, **sequence), HUBSPOT, NOW)
    assert EventType.SEQUENCE_UNENROLL not in [event.type for event in third.events]


def test_what_happened_has_the_same_event_id_however_often_it_is_told():
    one, two = (attach(None, CLEAN, HARD, HUBSPOT, NOW + timedelta(hours=h)) for h in (0, 5))
    assert [event.id for event in one.events] == [event.id for event in two.events]
