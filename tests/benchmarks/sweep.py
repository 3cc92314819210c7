"""How brittle is the reading? Changes notices as mail systems change mail, and compares what is read before and after.

    sweep.py FOLDER... [--show CHANGE]      folders of notices, read recursively

Only notices that are recognised unchanged are asked. For each change: how many it could be made to, and in how many
kind, recipients, status, reply code, reason or the original's Message-ID came out otherwise. With --show, which.
"""

import argparse
import base64
import html
import quopri
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from worker.classify import classify, default_rule_paths, load_rules
from worker.detect import detect, mime
from worker.detect.notice import RETURNED_TYPES, STATUS_TYPES
from worker.domain import Kind

RULES = load_rules(default_rule_paths())
FIELDS = ("kind", "recipients", "status", "code", "reason", "message_id")
BANNER = "CAUTION: This email originated from outside of the organization.\n\n"
NEW_DOMAIN = "mail-2.other.example"


def answer(raw: bytes) -> dict[str, object]:
    """What is read of a message, in the fields that a verdict rests on."""
    report = detect(raw)
    verdicts = [classify(RULES, report, recipient) for recipient in report.recipients]
    return {
        "kind": report.kind.value,
        "recipients": sorted(r.final_recipient.lower() for r in report.recipients),
        "status": sorted(str(r.status) for r in report.recipients),
        "code": sorted(str(r.smtp_code) for r in report.recipients),
        "reason": sorted(verdict.reason.value for verdict in verdicts),
        "message_id": report.original.message_id,
    }


def leaves(raw: bytes) -> Iterator[mime.Part]:
    """The parts of a message before the returned one."""
    for leaf in mime.read(raw).leaves:
        if leaf.content_type in RETURNED_TYPES:
            return
        yield leaf


def texts(raw: bytes) -> list[mime.Part]:
    """The parts that a person reads."""
    return [leaf for leaf in leaves(raw) if leaf.content_type == "text/plain" and leaf.body.strip()]


def rewritten(raw: bytes, leaf: mime.Part, text: str, kind: str, charset: str, encoding: str) -> bytes:
    """`raw` with one part's text in another type, charset or encoding."""
    data = text.encode(charset)
    body = base64.encodebytes(data) if encoding == "base64" else quopri.encodestring(data)
    head = leaf.source[: len(leaf.source) - len(leaf.body)]
    kept = re.sub(rb"(?im)^(?:content-type|content-transfer-encoding)[ \t]*:.*(?:\n[ \t].*)*\n", b"", head)
    fields = f"Content-Type: {kind}; charset={charset}\nContent-Transfer-Encoding: {encoding}\n".encode()
    whole = leaf.source == raw
    top = b"MIME-Version: 1.0\n" if whole and b"mime-version" not in kept.lower() else b""
    return raw.replace(leaf.source, top + fields + kept.rstrip(b"\n") + b"\n\n" + body, 1).lstrip(b"\n")


def each_text(
    raw: bytes, change: Callable[[str], str], kind: str = "text/plain", charset: str = "utf-8", encoding: str = "base64"
) -> bytes | None:
    """`raw` with all its texts changed."""
    for leaf in texts(raw):
        try:
            raw = rewritten(raw, leaf, change(leaf.text), kind, charset, encoding)
        except UnicodeEncodeError:
            return None
    return raw


def same(text: str) -> str:
    """The text itself: only its coding is changed."""
    return text


def as_html(text: str) -> str:
    """The text as a mail program shows it."""
    return "<html><body><p>" + html.escape(text).replace("\n", "<br>\n") + "</p></body></html>"


def rewrapped(text: str) -> str:
    """Long lines broken at 60 columns, as flowing gateways do; up to the returned message only."""
    return "\n".join(
        line
        if len(line) < 60 or line[:1].isspace()
        else textwrap.fill(line, 60, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def indented(text: str) -> str:
    """Each line set in by two blanks."""
    return "\n".join(f"  {line}" if line else "" for line in text.split("\n"))


def double_spaced(text: str) -> str:
    """Blank lines doubled."""
    return text.replace("\n\n", "\n\n\n")


def part_order(raw: bytes) -> bytes | None:
    """The status before the text."""
    parts = list(leaves(raw))
    if len(parts) < 2 or parts[0].content_type != "text/plain" or parts[1].content_type not in STATUS_TYPES:
        return None
    first, second = parts[0].source, parts[1].source
    return raw.replace(first, b"\0", 1).replace(second, first, 1).replace(b"\0", second, 1)


def status_coded(raw: bytes) -> bytes | None:
    """The status in base64."""
    for leaf in leaves(raw):
        if leaf.content_type in STATUS_TYPES:
            return rewritten(raw, leaf, leaf.text, leaf.content_type, "utf-8", "base64")
    return None


def without_text(raw: bytes) -> bytes | None:
    """The status alone, the text gone."""
    parts = list(leaves(raw))
    if not any(leaf.content_type in STATUS_TYPES for leaf in parts):
        return None
    for leaf in texts(raw):
        raw = raw.replace(leaf.body, b"\n", 1)
    return raw


def status_unspaced(raw: bytes) -> bytes | None:
    """No blank line between the groups of the status."""
    for leaf in leaves(raw):
        if leaf.content_type in STATUS_TYPES:
            body = re.sub(rb"\n[ \t]*\n+(?=[\w-]+:)", b"\n", leaf.body.strip(b"\n"))
            return raw.replace(leaf.body, body + b"\n\n", 1)
    return None


def status_types_lost(raw: bytes) -> bytes | None:
    """The status as text/plain, the report as multipart/mixed: what some gateways make of them."""
    changed = re.sub(rb"(?i)message/(?:global-)?delivery-status", b"text/plain", raw)
    changed = re.sub(rb"(?i)multipart/report", b"multipart/mixed", changed)
    return None if changed == raw else changed


def without(*names: bytes) -> Callable[[bytes], bytes | None]:
    """The message's own header without these fields."""

    def change(raw: bytes) -> bytes | None:
        head, gap, body = raw.partition(b"\n\n")
        pattern = rb"(?im)^(?:" + b"|".join(names) + rb")[ \t]*:.*(?:\n[ \t].*)*(?:\n|\Z)"
        less = re.sub(pattern, b"", head + b"\n").rstrip(b"\n")
        return None if less == head else less + gap + body

    return change


def with_subject(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes | None]:
    """The message's own subject changed."""

    def changed(raw: bytes) -> bytes | None:
        head, gap, body = raw.partition(b"\n\n")
        new = re.sub(rb"(?im)^(subject:[ \t]*)(\S.*)$", lambda m: m[1] + change(m[2]), head, count=1)
        return None if new == head else new + gap + body

    return changed


def encoded_word(subject: bytes) -> bytes:
    """A subject as an encoded word."""
    return subject if b"=?" in subject else b"=?utf-8?B?" + base64.b64encode(subject) + b"?="


def with_sender(sender: bytes) -> Callable[[bytes], bytes | None]:
    """The message's own From changed."""

    def changed(raw: bytes) -> bytes | None:
        head, gap, body = raw.partition(b"\n\n")
        new = re.sub(rb"(?im)^(from:[ \t]*)(\S.*(?:\n[ \t].*)*)$", lambda m: m[1] + sender, head, count=1)
        return None if new == head else new + gap + body

    return changed


def joined(text: str) -> str:
    """Each paragraph of words on one line, as mail programs send that leave the wrapping to the reader."""
    words = re.compile(r"(?<=[a-z,])\n(?=[a-z])")
    return words.sub(" ", text)


def lower_names(raw: bytes) -> bytes:
    """The message's own field names in lower case."""
    head, gap, body = raw.partition(b"\n\n")
    return re.sub(rb"(?m)^[\w-]+(?=:)", lambda m: m[0].lower(), head) + gap + body


def without_original(raw: bytes) -> bytes | None:
    """The returned message gone, as with RET=HDRS refused."""
    gone = [leaf for leaf in mime.read(raw).leaves if leaf.content_type in RETURNED_TYPES]
    for leaf in gone:
        raw = raw.replace(leaf.source, b"Content-Type: text/plain\n\n", 1)
    return raw if gone else None


CHANGES: dict[str, Callable[[bytes], bytes | None]] = {
    "CRLF": lambda raw: raw.replace(b"\n", b"\r\n"),
    "leading BOM": lambda raw: b"\xef\xbb\xbf" + raw,
    "leading blank line": lambda raw: b"\n" + raw,
    "field names in lower case": lower_names,
    "base64": lambda raw: each_text(raw, same),
    "quoted-printable": lambda raw: each_text(raw, same, encoding="quoted-printable"),
    "utf-16": lambda raw: each_text(raw, same, charset="utf-16"),
    "iso-2022-jp": lambda raw: each_text(raw, same, charset="iso-2022-jp"),
    "as HTML": lambda raw: each_text(raw, as_html, kind="text/html"),
    "re-wrapped at 60": lambda raw: each_text(raw, rewrapped),
    "indented": lambda raw: each_text(raw, indented),
    "more blank lines": lambda raw: each_text(raw, double_spaced),
    "a banner before": lambda raw: each_text(raw, lambda text: BANNER + text),
    "parts swapped": part_order,
    "status in base64": status_coded,
    "status without text": without_text,
    "status without blank lines": status_unspaced,
    "status as text/plain": status_types_lost,
    "no Return-Path": without(b"return-path"),
    "no Auto-Submitted": without(b"auto-submitted"),
    "no X-Failed-Recipients": without(b"x-failed-recipients"),
    "[EXTERNAL] subject": with_subject(lambda subject: b"[EXTERNAL] " + subject),
    "subject as encoded word": with_subject(encoded_word),
    "no original": without_original,
    "subject of no known language": with_subject(lambda _: b"=?utf-8?q?=D0=B6=D0=B6?="),
    "sender of no known name": with_sender(b"Xyzzy <xyzzy@relay.example>"),
    "sender and subject unknown": lambda raw: with_sender(b"Xyzzy <xyzzy@relay.example>")(
        with_subject(lambda _: b"Xyzzy")(raw) or raw
    ),
    "trailing blanks": lambda raw: each_text(raw, lambda text: text.replace("\n", "  \n")),
    "a signature after": lambda raw: each_text(raw, lambda text: f"{text}\n\n-- \nScanned. help@scanner.example\n"),
    "lines joined": lambda raw: each_text(raw, joined),
}


# Local parts as people have them: with the characters of RFC 5322's atoms, most of which no sample has.
LOCAL_PARTS = {
    "other addresses": "x.{}+y_o-z",
    "addresses with apostrophes": "x{}.o'neil",
    "addresses with = and /": "x{}=y/z",
    "short addresses": "x{}",
    "addresses of other scripts": "ж{}.é",
}


def other_addresses(raw: bytes, recipients: list[str], local_part: str) -> tuple[bytes, list[str]]:
    """The recipients called otherwise, everywhere, and what they are called."""
    new = []
    for number, address in enumerate(recipients):
        name = f"{local_part.format(number)}@{NEW_DOMAIN}"
        raw = re.sub(
            rb"(?<![\w.+-])" + re.escape(address.encode()) + rb"(?![\w-])", name.encode(), raw, flags=re.IGNORECASE
        )
        new.append(name)
    return raw, sorted(new)


def compare(before: dict[str, object], after: dict[str, object], ignore: frozenset[str]) -> list[str]:
    """The fields that came out otherwise."""
    return [field for field in FIELDS if field not in ignore and before[field] != after[field]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--show", action="append", default=[])
    args = parser.parse_args()
    notices = []
    for path in (p for folder in args.folders for p in sorted(folder.rglob("*")) if p.is_file()):
        raw = path.read_bytes().replace(b"\r\n", b"\n")
        if len(raw) < mime.MAX_BYTES and detect(raw).kind in (Kind.BOUNCE, Kind.DELAYED):
            notices.append((path, raw, answer(raw)))
    print(f"{len(notices)} recognised notices\n{'change':28}{'made':>6}{'same':>6}{'':>9}  " + "  ".join(FIELDS))
    total, alike = 0, 0
    for name in [*CHANGES, *LOCAL_PARTS]:
        made, lost = 0, Counter[str]()
        good = 0
        ignore = frozenset({"message_id"} if name == "no original" else ())
        for path, raw, before in notices:
            expected = before
            if name in LOCAL_PARTS:
                known = [r for r in before["recipients"] if "@" in r and r.isascii()]  # type: ignore[attr-defined]
                if len(known) != len(before["recipients"]):  # type: ignore[arg-type]
                    continue
                changed, named = other_addresses(raw, known, LOCAL_PARTS[name])
                expected = {**before, "recipients": named}
            else:
                changed = CHANGES[name](raw)
            if changed is None or changed == raw:
                continue
            made += 1
            told = answer(changed)
            if wrong := compare(expected, told, ignore):
                lost.update(wrong)
                if name in args.show:
                    print(f"   {path}: " + ", ".join(f"{f}: {expected[f]} -> {told[f]}" for f in wrong))
            else:
                good += 1
        total, alike = total + made, alike + good
        share = f"{100 * good / made:8.1f}%" if made else ""
        print(f"{name:28}{made:6}{good:6}{share}  " + "  ".join(f"{lost[f]:{len(f)}}" for f in FIELDS))
    print(f"{'all':28}{total:6}{alike:6}{100 * alike / total:8.1f}%")


if __name__ == "__main__":
    main()
