"""The grammar of SMTP replies (RFC 5321, 4.2; RFC 2034, 4) and of codes that stand in prose.

A number is only taken for a code where it stands as one: never an IP octet, a date, a size, a version or a port.
"""

import re
from typing import Final, NamedTuple

from worker.domain import STATUS, EnhancedStatusCode

# A three-digit code with a class, followed by white space, "-" (continued reply, RFC 5321, 4.2.1) or the end…
CODE: Final = re.compile(
    r"(?:[45][0-5]\d|2(?:11|14|2[01]|5[0-2]))(?=[ \t\n\-:,;.)\"'#]|$)(?!\.\d)(?![ \t]*(?:byte|kb|mb|hour|day|min"
    r"|sec|times|of\b|[/:]\d))",
    re.IGNORECASE,
)
# "554 <bob@example.com>... 550 Host unknown": Sendmail's own code, then the one that it was answered.
NESTED: Final = re.compile(r"[45](?<!\w.)\d\d (?:<[^<>\s]{1,320}>\.\.\. )?(?=[45]\d\d )")
# … at a place where replies stand: at the start of a line or text, after a quote, colon or bracket, or after words that
# announce it. A pattern of its own, for what stands before: numbers are few, and such places many.
PLACE: Final = re.compile(
    r"(?:[\n\"'(<>:;,=#|]\s{0,4}|\b(?:said|code|error|reply|response|status|responded|with|was|host|SMTP"
    r"|failed|rejected|\w{1,20}code)"
    r"\b[:;=,]?\s{1,4}[\"'(<]?)\Z",
    re.IGNORECASE,
)
PLACE_LENGTH: Final = 32  # no place is longer
# What may not stand before is asked behind the first digit: so the search skips to digits without asking anything.
BEFORE_STATUS: Final = re.compile(r"([245](?<![\d.].)[0-5]\d)[ \-#:(]{1,3}#?(?=[245]\.\d{1,3}\.\d{1,3}(?![\d.]\d))")
LAST_SUBJECT: Final = 7  # RFC 3463, 3: "security or policy status"; higher ones are versions
UNLIKELY: Final = frozenset({"400", "404"})  # HTTP's


class Reply(NamedTuple):
    """What a server answered: the reply code and the enhanced status code, either of which may be absent."""

    code: str | None = None
    status: EnhancedStatusCode | None = None


NO_REPLY: Final = Reply()
ANY_CODE: Final = re.compile(r"[245](?:\d\d|\.\d)")  # most texts have none, and are spared the patterns


def find_reply(text: str) -> Reply:
    """Return the reply code and the enhanced code in `text`: a pair that belongs together, if there is one."""
    if not ANY_CODE.search(text):
        return NO_REPLY
    text = NESTED.sub("", text)
    first = None
    for pair in BEFORE_STATUS.finditer(text):
        found = Reply(pair.group(1), EnhancedStatusCode.parse(text[pair.end() : pair.end() + 12]))
        if found.status and not found.status.says_expired:
            return found
        first = first or found  # what stands behind it is the last answer of the other server
    if first:
        return first
    return Reply(_find_code(text), find_status(text))


def _find_code(text: str) -> str | None:
    for found in CODE.finditer(text):
        start = found.start()
        if found.group() in UNLIKELY:
            continue
        if start == 0 or PLACE.search(text, max(0, start - PLACE_LENGTH), start):
            return found.group()
    return None


def find_status(text: str) -> EnhancedStatusCode | None:
    """Return the first enhanced code in `text` that says something, else the first that stands there."""
    first = None
    for found in STATUS.finditer(text):
        code = EnhancedStatusCode(*map(int, found.groups()))
        if code.subject > LAST_SUBJECT:
            continue  # "Exim 4.96.2"
        if not code.says_nothing:
            return code
        first = first or code
    return first
