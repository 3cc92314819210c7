"""What mail systems write in languages other than English, as data: one file a language, read once at import.

The files hold phrases, not patterns: a text is searched for all of them at once, so that the cost does not grow with
their number, and no phrase can make it take long. Each file says where its phrases were found, and
lists as `unsourced` those for which no public place was found. They only recognise; what a notice means is the rules'.
"""

import tomllib
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Final

from worker.phrases import START


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The phrases of some languages, each in lower case with single blanks.

    `failed_subject`, `delayed_subject`: stand in the subject of a notice. `automatic_subject`: begins the subject of an
    automatic answer. `reply_prefix`: what mail programs put before the subject of an answered or forwarded message.
    `failed`, `delayed`: words with which a notice says so. `returned`: begins the line that announces the returned
    message. `held`: words with which a list or gateway says that a message waits for a person; not all languages have
    any.
    """

    failed_subject: tuple[str, ...] = ()
    delayed_subject: tuple[str, ...] = ()
    automatic_subject: tuple[str, ...] = ()
    reply_prefix: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    delayed: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


KINDS: Final = tuple(field.name for field in fields(Vocabulary))


class VocabularyError(ValueError):
    """A language's file can't be used; the message names it."""


def fold(text: str) -> str:
    """Return `text` as the phrases are written: lower case, single blanks, straight apostrophes."""
    return " ".join(text.casefold().split()).replace("’", "'").replace("‘", "'")


def read(name: str, text: str) -> Vocabulary:
    """Return the vocabulary in `text`, a language's file called `name`. Raises VocabularyError."""
    try:
        data = tomllib.loads(text)
    except ValueError as exc:
        raise VocabularyError(f"{name}: is no TOML: {exc}") from exc
    if not data.pop("language", None) or not data.pop("sources", None):
        raise VocabularyError(f"{name}: names no language or no sources")
    unsourced = data.pop("unsourced", [])
    if unknown := set(data) - set(KINDS):
        raise VocabularyError(f"{name}: unknown key {min(unknown)!r}")
    for kind, phrases in data.items():
        for phrase in phrases:
            if phrase != fold(phrase) or (len(phrase) < START and kind != "reply_prefix"):
                raise VocabularyError(f"{name}: {phrase!r} is too short or not in lower case")
    if strange := set(unsourced) - {phrase for phrases in data.values() for phrase in phrases}:
        raise VocabularyError(f"{name}: {min(strange)!r} is no phrase of it")
    return Vocabulary(**{kind: tuple(phrases) for kind, phrases in data.items()})


def _read_all() -> Vocabulary:
    found = sorted((file for file in files(__name__).iterdir() if file.name.endswith(".toml")), key=lambda f: f.name)
    languages = [read(file.name, file.read_text(encoding="utf-8")) for file in found]
    phrases = {kind: [phrase for one in languages for phrase in getattr(one, kind)] for kind in KINDS}
    return Vocabulary(**{kind: tuple(dict.fromkeys(each)) for kind, each in phrases.items()})


ALL: Final = _read_all()
