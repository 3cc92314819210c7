"""The life of a bounce: each state × each event, policies, thresholds, and what the CRM is told."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest

from tests.fakes.notices import NOW
from tests.fakes.sends import sent
from tests.life import (
    ADDRESS,
    BEGAN,
    EVENTS,
    FULL,
    HARD,
    PENDING,
    RULES,
    SOFT,
    STATES,
    THEN,
    after,
    fact,
    lines,
    minutes,
    report,
    shown,
)
from worker.attach import PATIENCE, address_events, address_state, events, excludes, heals, standing
from worker.domain import (
    AccountRules,
    AddressState,
    BounceType,
    EventType,
    FactKind,
    Fault,
    Policy,
    Reason,
    SendKind,
    SoftThreshold,
)

EXPECTED = {
    # Columns in the order of STATES: nothing, pending, soft, hard, hard for a full mailbox, ended by a delivery, by a
    # message of the address's own, by a person.
    "the same report again": "hard pending soft hard hard (pending) (soft) (hard)",
    "a delay": "pending pending soft hard hard (pending) (soft) (hard)",
    "a delay, late": "pending pending soft hard hard (pending) (soft) (hard)",
    "a soft failure": "soft soft soft soft soft soft soft soft",
    "a soft failure, late": "soft soft soft hard hard (soft) (soft) (hard)",
    "a hard failure": "hard hard hard hard hard hard hard hard",
    "a hard failure, late": "hard hard soft hard hard (hard) (soft) (hard)",
    "a delivery": "– (pending) (soft) (hard) (hard) (pending) (soft) (hard)",
    "a delivery, late": "– (pending) soft hard hard (pending) (soft) (hard)",
    "a message from the address": "– (pending) (soft) hard (hard) (pending) (soft) (hard)",
    "an older message from it": "– pending soft hard hard (pending) (soft) (hard)",
    "72 hours after the send": "– soft soft hard hard (pending) (soft) (hard)",
    "an un-bounce": "– (pending) (soft) (hard) (hard) (pending) (soft) (hard)",
    "an un-bounce is undone": "– pending soft hard hard (pending) (soft) hard",
    "its report is rejected": "– (pending) (soft) (hard) (hard) (pending) (soft) (hard)",
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_each_event_in_each_state(state, event):
    assert after(state, event) == EXPECTED[event].split()[list(STATES).index(state)]


def test_the_page_in_the_docs_is_what_the_code_does():
    page = Path(__file__).parents[1] / "docs" / "life.md"
    assert page.read_text() == "\n".join(lines()) + "\n"


ALL = (
    report(PENDING, THEN, "r-1"),
    report(HARD, minutes(1), "r-2"),
    fact(FactKind.UNBOUNCED, minutes(2)),
    report(SOFT, minutes(3), "r-3"),
    fact(FactKind.WROTE, minutes(4)),
    report(FULL, minutes(5), "r-4"),
)


def test_the_order_in_which_facts_become_known_does_not_matter():
    ends = {(bounce.verdict.type, bounce.report_id, bounce.ended_by, bounce.evidence) for bounce in orders(ALL)}
    assert len(ends) == 1


def orders(facts):
    for order in permutations(facts):
        bounce = standing(order, BEGAN, RULES, minutes(10))
        assert bounce is not None
        yield bounce


def test_a_bounce_after_an_un_bounce_counts_anew():
    bounce = standing(ALL, BEGAN, RULES, minutes(10))
    assert (bounce.stands, bounce.verdict.reason, bounce.report_id) == (True, Reason.MAILBOX_FULL, "r-4")


@pytest.mark.parametrize("kind", [FactKind.UNBOUNCED, FactKind.WROTE])
def test_what_was_known_before_an_email_was_sent_does_not_end_its_bounce_by_a_clock_that_is_behind(kind):
    before = replace(fact(kind, BEGAN - timedelta(seconds=1)), recorded_at=NOW - timedelta(hours=1))
    behind = report(SOFT, BEGAN - timedelta(minutes=2), "r-1")
    assert shown(standing([before, behind], BEGAN, RULES, minutes(10))) == "soft"
    assert shown(standing([replace(before, recorded_at=NOW), behind], BEGAN, RULES, minutes(10))) == "(soft)"


def test_what_ended_a_bounce_is_its_last_line_of_evidence():
    why = replace(fact(FactKind.UNBOUNCED, minutes(1)), by="ann", why="he called us")
    bounce = standing([report(HARD, THEN, "r-1"), why], BEGAN, RULES, minutes(10))
    assert bounce.evidence[-1].text == "A person has lifted it (ann: he called us)."
    assert (bounce.ended_by, bounce.ended_at) == (FactKind.UNBOUNCED, minutes(1))


def test_where_the_send_is_forgotten_the_first_report_counts_for_the_72_hours():
    facts = [report(PENDING, THEN, "r-1")]
    assert shown(standing(facts, None, RULES, THEN + PATIENCE - timedelta(seconds=1))) == "pending"
    assert shown(standing(facts, None, RULES, THEN + PATIENCE)) == "soft"


def test_a_delay_that_is_reported_after_72_hours_is_soft_at_once():
    late = BEGAN + PATIENCE + timedelta(hours=1)
    assert shown(standing([report(PENDING, late, "r-1")], BEGAN, RULES, late)) == "soft"


def test_a_full_mailbox_may_be_given_time_and_is_given_none_by_default():
    facts = [report(FULL, THEN, "r-1")]
    week = replace(RULES, mailbox_full_expires=timedelta(days=7))
    assert shown(standing(facts, BEGAN, RULES, THEN + timedelta(days=400))) == "hard"
    assert shown(standing(facts, BEGAN, week, THEN + timedelta(days=7, seconds=-1))) == "hard"
    assert shown(standing(facts, BEGAN, week, THEN + timedelta(days=7))) == "(hard)"
    again = [*facts, report(FULL, THEN + timedelta(days=8), "r-2")]
    assert shown(standing(again, BEGAN, week, THEN + timedelta(days=9))) == "hard"


@pytest.mark.parametrize(("kind", "healed"), [(PENDING, True), (SOFT, True), (FULL, True), (HARD, False)])
def test_a_message_of_the_addresss_own_heals_what_it_proves_wrong(kind, healed):
    assert heals(report(kind, THEN, "r-1").bounce) is healed


@pytest.mark.parametrize(
    ("policy", "kind", "fault", "excluded"),
    [
        (Policy.HUBSPOT, BounceType.HARD, Fault.SENDER, True),
        (Policy.HUBSPOT, BounceType.SOFT, Fault.ADDRESS, False),
        (Policy.HUBSPOT, BounceType.PENDING, Fault.NETWORK, False),
        (Policy.CAREFUL, BounceType.HARD, Fault.ADDRESS, True),
        (Policy.CAREFUL, BounceType.HARD, Fault.SENDER, False),
        (Policy.CAREFUL, BounceType.HARD, Fault.CONTENT, False),
    ],
)
def test_what_excludes_an_address_is_the_policys_to_say(policy, kind, fault, excluded):
    bounce = report((kind, Reason.POLICY, fault), THEN, "r-1").bounce
    assert excludes(policy, bounce) is excluded
    state = address_state("acme", ADDRESS, [replace(bounce, policy=policy)], RULES)
    assert state.excluded_by is (policy if excluded else None)


def bounces(*kinds):
    return [
        report(kind, THEN + timedelta(days=day), f"r-{day}", id=f"s-{day}").bounce for day, kind in enumerate(kinds)
    ]


def test_an_address_shows_the_first_bounce_that_excludes_it_and_the_last_hard_reason():
    state = address_state("acme", ADDRESS, bounces(SOFT, HARD, FULL), RULES)
    assert state.excluded_at == THEN + timedelta(days=1)
    assert state.hard_bounce_reason is Reason.MAILBOX_FULL


def test_what_has_ended_excludes_nobody():
    ended = [replace(bounce, ended_by=FactKind.UNBOUNCED, ended_at=NOW) for bounce in bounces(HARD, FULL)]
    assert address_state("acme", ADDRESS, ended, RULES) == AddressState(account="acme", address=ADDRESS)


@pytest.mark.parametrize(("count", "days", "excluded"), [(3, 2, True), (3, 1, False), (4, 30, False), (1, 0, True)])
def test_soft_bounces_exclude_only_by_a_threshold_that_the_account_has_set(count, days, excluded):
    soft = bounces(SOFT, SOFT, SOFT)
    assert address_state("acme", ADDRESS, soft, RULES).excluded_by is None
    rules = replace(RULES, soft_threshold=SoftThreshold(bounces=count, within=timedelta(days=days)))
    assert (address_state("acme", ADDRESS, soft, rules).excluded_by is Policy.HUBSPOT) is excluded


def told(before, after, send=None, rules=RULES, cause="c") -> list[EventType]:
    return [event.type for event in events(before, after, send, rules, cause)]


def at(*facts):
    return standing(facts, BEGAN, RULES, minutes(10))


def test_the_crm_is_told_what_has_changed_and_of_nothing_else():
    pending, hard = at(report(PENDING, THEN, "r-1")), at(report(HARD, THEN, "r-1"))
    healed = at(report(SOFT, THEN, "r-1"), fact(FactKind.WROTE, minutes(1)))
    lifted = at(report(HARD, THEN, "r-1"), fact(FactKind.UNBOUNCED, minutes(1)))
    assert told(None, hard) == [EventType.BOUNCE_ATTACHED]
    assert told(pending, hard) == [EventType.BOUNCE_UPDATED]
    assert told(hard, lifted) == [EventType.BOUNCE_UPDATED]
    assert told(at(report(SOFT, THEN, "r-1")), healed) == [EventType.BOUNCE_HEALED]
    assert told(hard, hard) == told(None, None) == []


def test_a_sequence_ends_by_what_the_account_says_and_never_by_a_delay():
    sequence = sent(1, kind=SendKind.SEQUENCE, enrollment_id="e-1", sequence_id="q-1")
    pending, soft, hard = (at(report(kind, THEN, "r-1")) for kind in (PENDING, SOFT, HARD))
    assert EventType.SEQUENCE_UNENROLL not in told(None, pending, sequence)
    assert EventType.SEQUENCE_UNENROLL in told(pending, soft, sequence)
    assert EventType.SEQUENCE_UNENROLL not in told(soft, hard, sequence)
    hard_only = AccountRules(account="acme", unenroll_on=frozenset({BounceType.HARD}))
    assert EventType.SEQUENCE_UNENROLL not in told(pending, soft, sequence, hard_only)
    assert EventType.SEQUENCE_UNENROLL in told(soft, hard, sequence, hard_only)
    (ended,) = [e for e in events(None, hard, sequence, RULES, "c") if e.type is EventType.SEQUENCE_UNENROLL]
    assert (ended.enrollment_id, ended.sequence_id) == ("e-1", "q-1")


def test_a_sequence_ends_under_one_id_however_often_it_bounces_again():
    sequence = sent(1, kind=SendKind.SEQUENCE, enrollment_id="e-1", sequence_id="q-1")
    hard = at(report(HARD, THEN, "r-1"))
    ids = {e.id for cause in "ab" for e in events(None, hard, sequence, RULES, cause) if e.enrollment_id}
    assert len(ids) == 1


def test_the_same_cause_is_told_under_the_same_id_and_another_under_another():
    hard = at(report(HARD, THEN, "r-1"))
    ids = [events(None, hard, None, RULES, cause)[0].id for cause in ("a", "a", "b")]
    assert ids[0] == ids[1] != ids[2]


def test_an_address_is_told_of_when_it_is_excluded_and_when_it_is_not_any_more():
    clean = AddressState(account="acme", address=ADDRESS)
    excluded = replace(clean, excluded_by=Policy.HUBSPOT, excluded_at=THEN)
    bounce = at(report(HARD, THEN, "r-1"))
    assert [e.type for e in address_events(clean, excluded, bounce, "c")] == [EventType.CONTACT_EXCLUDED]
    assert [e.type for e in address_events(excluded, clean, bounce, "c")] == [EventType.CONTACT_UNBOUNCED]
    assert address_events(excluded, replace(excluded, hard_bounce_reason=Reason.OTHER), bounce, "c") == []
