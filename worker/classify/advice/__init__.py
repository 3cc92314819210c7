"""Advice for a person, by language, as data."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Final

LANGUAGES: Final = ("en", "it", "nb", "pl")


def load_advice(language: str) -> Mapping[str, str]:
    """Return advice by reason, or by reason and fault. Raises ValueError for a language that isn't one of ours."""
    if language not in LANGUAGES:
        raise ValueError(f"There is no advice in {language!r}: use one of {', '.join(LANGUAGES)}.")
    text = (resources.files(__package__) / f"{language}.toml").read_text(encoding="utf-8")
    advice: Mapping[str, str] = tomllib.loads(text)["advice"]
    return advice


def advise(advice: Mapping[str, str], kind: str, reason: str, fault: str) -> str:
    """Return what a person can do about a verdict of this type, reason and fault."""
    if kind == "pending":
        return advice["pending"]
    return advice.get(f"{reason}.{fault}") or advice[reason]
