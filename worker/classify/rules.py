"""Rules as values, read from TOML files. A bad file is refused as a whole, naming the file and the rule."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from worker.domain import SOFT_REASONS, Action, BounceType, Fault, Reason
from worker.phrases import Phrases

HERE: Final = Path(__file__).parent
# Vendors' texts first; English before other languages, because servers everywhere speak it; codes last.
BEFORE_CODES: Final = ("vendors.toml", "phrases.en.toml")
CODES: Final = ("status_codes.toml", "reply_codes.toml")
SHORTEST: Final = 4  # no phrase is shorter: it would stand in other words
KEYS: Final = frozenset(
    {"name", "contains", "text", "status", "smtp_code", "action", "type", "reason", "fault", "vague", "lasting"}
    | {"example", "source", "verified"}
)
# A quantified group that itself ends in a quantifier: the shape of patterns that take exponential time.
NESTED_QUANTIFIER: Final = re.compile(r"[*+}]\)[*+{]")


class RuleError(ValueError):
    """A rule file can't be used; the message names the file and the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One piece of knowledge: where all of its conditions hold, the bounce is of this reason and fault.

    `contains`: one of these stands in the text (folded to lower case, white space as single blanks). `text`, `status`,
    `smtp_code`: patterns. `vague`: the rule knows little, so the notice's prose is asked before it speaks. `lasting`:
    hard even where the code is 4.x.x, because the server has given up on something that will not heal by itself.
    `example` is a text that it speaks for; the tests hold it to that. `source` is the public place where its words were
    found; a rule without one says `verified = false`: it speaks only where no other does, and a person decides.
    """

    name: str
    type: BounceType
    reason: Reason
    fault: Fault
    contains: tuple[str, ...] = ()
    text: re.Pattern[str] | None = None
    status: re.Pattern[str] | None = None
    smtp_code: re.Pattern[str] | None = None
    action: Action | None = None
    vague: bool = False
    lasting: bool = False
    verified: bool = True
    example: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rules:
    """All rules in order, the first match wins; `version` names the files and their versions.

    `phrases` looks for the phrases of all rules at once; `owners` says of each the place of its rule, and its words.
    """

    rules: tuple[Rule, ...]
    version: str
    phrases: Phrases
    owners: tuple[tuple[int, str], ...]


def default_rule_paths() -> tuple[Path, ...]:
    """Return the product's own rule files in order; an operator's file goes before them."""
    english = {HERE / name for name in BEFORE_CODES}
    languages = sorted(path for path in HERE.glob("phrases.*.toml") if path not in english)
    return (*(HERE / name for name in BEFORE_CODES), *languages, *(HERE / name for name in CODES))


def load_rules(paths: Iterable[Path]) -> Rules:
    """Return the rules of all files, in order. Raises RuleError."""
    rules: list[Rule] = []
    versions = []
    for path in paths:
        data = _read(path)
        version = data.get("version")
        if not isinstance(version, str) or not version:
            raise RuleError(f'{path}: has no version = "…"')
        versions.append(f"{path.name.removesuffix('.toml')}@{version}")
        rules.extend(_rule(path, row) for row in data.get("rule", ()))
    names = [rule.name for rule in rules]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RuleError(f"two rules are called {twice!r}")
    owners = tuple((place, phrase) for place, rule in enumerate(rules) for phrase in rule.contains)
    phrases = Phrases(phrase for _, phrase in owners)
    return Rules(rules=tuple(rules), version=" ".join(versions), phrases=phrases, owners=owners)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise RuleError(f"{path}: can't be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise RuleError(f"{path}: is no TOML: {exc}") from exc


def _rule(path: Path, row: Mapping[str, Any]) -> Rule:
    name = row.get("name")
    if not isinstance(name, str) or not name:
        raise RuleError(f"{path}: a rule has no name")
    try:
        return _checked(name, row)
    except (ValueError, TypeError, KeyError, re.error) as exc:
        raise RuleError(f"{path}: rule {name!r}: {exc}") from exc


def _checked(name: str, row: Mapping[str, Any]) -> Rule:
    if unknown := set(row) - KEYS:
        raise ValueError(f"unknown key {min(unknown)!r}")
    for key in ("type", "reason", "fault"):
        if key not in row:
            raise ValueError(f"has no {key}")
    kind, reason = BounceType(row["type"]), Reason(row["reason"])
    if (kind is BounceType.SOFT) != (reason in SOFT_REASONS) or kind is BounceType.PENDING:
        raise ValueError(f"type {kind} and reason {reason} don't go together")
    if not any(key in row for key in ("contains", "text", "status", "smtp_code", "action")):
        raise ValueError("has no condition")
    contains = tuple(row.get("contains", ()))
    if any(not isinstance(phrase, str) or phrase != phrase.casefold() or not phrase.strip() for phrase in contains):
        raise ValueError("a phrase of `contains` is not in lower case")
    if short := next((phrase for phrase in contains if len(phrase) < SHORTEST), None):
        raise ValueError(f"the phrase {short!r} is shorter than {SHORTEST} characters")
    return Rule(
        name=name,
        type=kind,
        reason=reason,
        fault=Fault(row["fault"]),
        contains=contains,
        text=_pattern(row.get("text")),
        status=_pattern(row.get("status")),
        smtp_code=_pattern(row.get("smtp_code")),
        action=Action(row["action"]) if "action" in row else None,
        vague=bool(row.get("vague", False)),
        lasting=bool(row.get("lasting", False)),
        verified=bool(row.get("verified", True)),
        example=row.get("example"),
        source=row.get("source"),
    )


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    if NESTED_QUANTIFIER.search(text):
        raise ValueError(f"pattern {text!r} repeats what is repeated: it could take for ever")
    return re.compile(text, re.IGNORECASE)
