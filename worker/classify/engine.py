"""The engine: asks the rules in order and lets the first that holds speak.

The server's own words are asked first, then codes. Only where a rule calls itself vague (5.0.0, 5.7.1, a bare class) is
the notice's prose asked as well: it is full of words that explain what might have been. Rules that are not verified are
asked last, where all others are vague.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from worker.classify.rules import Rule, Rules
from worker.domain import UNREAD, Action, BounceType, DeliveryReport, Fault, Reason, RecipientReport, Verdict

MAX_TEXT: Final = 4_000
FALLBACK: Final = Rule(
    name="fallback", type=BounceType.HARD, reason=Reason.OTHER, fault=Fault.RECIPIENT_SERVER, vague=True
)

# What a hard reason means while the server still tries, or where it answered 4.x.x ("an explicit 4.x.x is soft").
SOFTENED: Final = {
    Reason.UNKNOWN_USER: Reason.RECIPIENT_TEMPORARY,
    Reason.MAILBOX_FULL: Reason.RECIPIENT_TEMPORARY,
    Reason.CONTENT: Reason.SECURITY_FILTER,
    Reason.SPAM: Reason.SECURITY_FILTER,
    Reason.POLICY: Reason.SECURITY_FILTER,
    Reason.OTHER: Reason.TEMPORARY,
}


class Evidence(NamedTuple):
    """What the rules are asked about; `phrases` has for each rule that has a phrase in `text` the longest of them."""

    text: str
    phrases: Mapping[int, str]
    status: str
    smtp_code: str
    action: Action


def classify(rules: Rules, report: DeliveryReport, recipient: RecipientReport) -> Verdict:
    """Return what `recipient`'s report comes to."""
    status = str(recipient.status) if recipient.status else ""
    codes = (status, recipient.smtp_code or "", recipient.action)
    diagnostic = _folded(recipient.diagnostic_code or "")
    rule, words = _first(rules, Evidence(diagnostic, _phrases(rules, diagnostic), *codes))
    if rule.vague and (prose := _folded(recipient.text or _only_text(report))):
        evidence = Evidence(prose, _phrases(rules, prose), *codes)
        clearer, clearer_words = _first(rules, evidence)
        if clearer.vague:
            clearer, clearer_words = _first(rules, evidence, verified=False)
        if not clearer.vague:
            rule, words = clearer, clearer_words
    kind, reason = _weighed(rule, recipient)
    return Verdict(
        type=kind,
        reason=reason,
        fault=rule.fault,
        rule=rule.name,
        rules_version=rules.version,
        matched_text=words,
        verified=rule.verified and not (rule.vague and report.detector == UNREAD),
    )


def _first(rules: Rules, evidence: Evidence, *, verified: bool = True) -> tuple[Rule, str | None]:
    # Only rules that can hold are asked: those with a phrase in the text, and those that ask for none.
    for place in sorted((*evidence.phrases, *_by_codes(rules, evidence.status, evidence.smtp_code, evidence.action))):
        rule = rules.rules[place]
        if rule.verified is verified:
            matched, words = _holds(rule, evidence, evidence.phrases.get(place))
            if matched:
                return rule, words
    return FALLBACK, None


def _phrases(rules: Rules, text: str) -> dict[int, str]:
    """Return for each rule that has a phrase in `text` the longest of them."""
    found: dict[int, str] = {}
    for number in rules.phrases.places(text):
        place, phrase = rules.owners[number]
        if len(phrase) > len(found.get(place, "")):
            found[place] = phrase
    return found


@lru_cache(maxsize=1_000)  # the codes of a lifetime; the texts differ, and are asked each time
def _by_codes(rules: Rules, status: str, smtp_code: str, action: Action) -> tuple[int, ...]:
    """Return the places of the rules that ask for no phrase and hold for these codes, as far as codes say."""
    return tuple(
        place
        for place, rule in enumerate(rules.rules)
        if not rule.contains
        and (rule.action is None or rule.action is action)
        and (rule.status is None or rule.status.fullmatch(status))
        and (rule.smtp_code is None or rule.smtp_code.fullmatch(smtp_code))
    )


def _holds(rule: Rule, evidence: Evidence, phrase: str | None) -> tuple[bool, str | None]:
    """Whether all of the rule's other conditions hold, and the words that did it."""
    words = phrase
    if rule.action and rule.action is not evidence.action:
        return False, None
    if rule.status:
        if not rule.status.fullmatch(evidence.status):
            return False, None
        words = words or evidence.status
    if rule.smtp_code:
        if not rule.smtp_code.fullmatch(evidence.smtp_code):
            return False, None
        words = words or evidence.smtp_code
    if rule.text:
        found = rule.text.search(evidence.text)
        if not found:
            return False, None
        words = found.group() or words
    return True, words


def _weighed(rule: Rule, recipient: RecipientReport) -> tuple[BounceType, Reason]:
    """Return type and reason: the type follows the action and the class of the code, the reason follows the rule."""
    if recipient.action is Action.DELAYED:
        return BounceType.PENDING, SOFTENED.get(rule.reason, rule.reason)
    if rule.type is BounceType.HARD and not rule.lasting and _is_transient(recipient):
        return BounceType.SOFT, SOFTENED[rule.reason]
    return rule.type, rule.reason


def _is_transient(recipient: RecipientReport) -> bool:
    """Whether the server said 4.x.x; the reply code only counts where no enhanced code says otherwise."""
    if recipient.status and not recipient.status.says_nothing:
        return recipient.status.klass == 4
    if recipient.smtp_code:
        return recipient.smtp_code.startswith("4")
    return recipient.status is not None and recipient.status.klass == 4


def _only_text(report: DeliveryReport) -> str:
    """Return the notice's prose where it can only speak of one recipient."""
    return report.text if len(report.recipients) == 1 else ""


def _folded(text: str) -> str:
    """Return `text` as phrases are written: lower case, single blanks, straight apostrophes (French "n’existe")."""
    return " ".join(text[:MAX_TEXT].split()).casefold().replace("’", "'")
