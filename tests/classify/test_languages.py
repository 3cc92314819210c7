"""Each language is a file, and each of its phrases either names where it was found or says that it is not verified."""

import tomllib

import pytest

from worker.classify import classify, default_rule_paths, load_rules
from worker.domain import DeliveryReport, Kind, RecipientReport

LANGUAGES = {
    "de", "fr", "it", "es", "pt", "nl", "da", "nb", "sv", "fi", "pl", "cs", "hu", "tr", "ru", "uk", "el", "ja",
    "zh-hans", "zh-hant", "ko",
}  # fmt: skip
FILES = [path for path in default_rule_paths() if path.name.startswith("phrases.") and path.name != "phrases.en.toml"]
RULES = load_rules(default_rule_paths())


def language(path):
    return path.name.removeprefix("phrases.").removesuffix(".toml")


def test_all_languages_are_there_and_stand_before_the_codes():
    assert {language(path) for path in FILES} == LANGUAGES
    names = [path.name for path in default_rule_paths()]
    assert max(names.index(path.name) for path in FILES) < names.index("status_codes.toml")


@pytest.mark.parametrize("path", FILES, ids=language)
def test_each_phrase_has_a_source_or_is_marked_as_not_verified(path):
    rules = tomllib.loads(path.read_text())["rule"]
    assert rules
    for rule in rules:
        assert rule["name"].startswith(f"{language(path)}.")
        assert bool(rule.get("source")) is rule.get("verified", True)
        assert rule["contains"]


@pytest.mark.parametrize(
    "rule", [r for r in RULES.rules if r.name.partition(".")[0] in LANGUAGES], ids=lambda r: r.name
)
def test_each_phrase_is_answered_by_its_own_rule(rule):
    """One that another rule answers first would be dead knowledge."""
    for phrase in rule.contains:
        said = RecipientReport(final_recipient="bob@customer.test", text=phrase)
        verdict = classify(RULES, DeliveryReport(kind=Kind.BOUNCE, detector="test"), said)
        assert (verdict.rule, verdict.matched_text, verdict.verified) == (rule.name, phrase, rule.verified)
