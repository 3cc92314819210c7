"""A model of Gmail's search as far as Google documents it (https://support.google.com/mail/answer/7190).

Whole words in any case, in order where they stand in quotes; `from:` and `subject:` with a word or a quoted phrase;
braces for "any of"; a minus for "not"; `in:` a label; `after:` and `before:` with seconds. A word ends where letters
and digits end, so that ``mailer-daemon`` is two words that follow each other. How Gmail cuts up Chinese and Japanese
isn't documented: here a run of their letters is one word, which finds less than Gmail may.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from worker.words import decode_words

_TOKEN = re.compile(r'\{|\}|-?(?:[a-z]+:)?(?:"[^"]*"|[^\s{}"]+)|-(?=\{)')
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Searched:
    """What a search knows of a message. `at` is in milliseconds since 1970."""

    sender: str
    subject: str
    labels: frozenset[str] = frozenset()
    at: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "_words", {"from": _words(self.sender), "subject": _words(self.subject)})


def searched(sender: str, subject: str, labels: frozenset[str] = frozenset(), at: int = 0) -> Searched:
    """Return what Gmail would know of a message with these header fields, as they stand."""
    return Searched(decode_words(sender), decode_words(subject), labels, at)


def finds(query: str, message: Searched) -> bool:
    """Whether a search finds a message."""
    tokens = iter(_TOKEN.findall(query.lower()))
    return all(_holds(token, tokens, message) for token in tokens)


def _holds(token: str, tokens: Iterator[str], message: Searched) -> bool:
    if token == "{":
        terms = []
        for term in tokens:
            if term == "}":
                break
            terms.append(term)
        return any(_holds(term, iter(()), message) for term in terms)
    if token.startswith("-"):
        return not _holds(token[1:], tokens, message)
    name, _, value = token.partition(":")
    match name:
        case "from" | "subject":
            return _follow(_words(value), message._words[name])
        case "after":
            return message.at > int(value) * 1000
        case "before":
            return message.at < int(value) * 1000
        case "in":
            return value.upper() in message.labels
    raise ValueError(f"the model of Gmail's search knows no {token!r}")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _follow(wanted: list[str], words: list[str]) -> bool:
    if not wanted:
        return False
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))
