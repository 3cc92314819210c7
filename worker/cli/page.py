"""The dry run's result as one HTML page that a manager understands. All that came from mail is data and is escaped."""

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from worker.classify.advice import advise, load_advice
from worker.cli.shared import shown

REASONS: Final[Mapping[str, str]] = {
    "unknown_user": "The address does not exist",
    "mailbox_full": "The mailbox is full",
    "content": "The email's content was refused",
    "spam": "Taken for spam",
    "policy": "Refused by a rule",
    "other": "Refused for another reason",
    "recipient_temporary": "The mailbox takes nothing for now",
    "security_filter": "Turned away by a filter for now",
    "sender_not_authorised": "Our own domain's policy forbids it",
    "temporary": "A technical problem for now",
}
FAULTS: Final[Mapping[str, str]] = {
    "address": "The address",
    "content": "What the email says",
    "sender": "Our own domain or provider",
    "recipient_server": "The contact's mail system",
    "network": "The network",
}
TYPES: Final[Mapping[str, str]] = {"hard": "failed for good", "soft": "failed for now", "pending": "still being tried"}
OTHER_KINDS: Final[Mapping[str, str]] = {
    "delivered": "say that an email was delivered",
    "auto_reply": "are automatic replies",
    "receipt": "are read receipts",
    "complaint": "are complaints",
    "challenge": "ask to be confirmed",
    "held": "say that an email is held back",
}
STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.2rem;margin-top:2.2rem}.when{color:#595959;margin-top:.2rem}
.figures{display:flex;flex-wrap:wrap;gap:1rem;padding:0;list-style:none}
.figures li{border:1px solid #d0d0d0;border-radius:.5rem;padding:.7rem 1rem;min-width:8rem}
.figures b{display:block;font-size:1.7rem;line-height:1.2}
table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #d9d9d9;padding:.4rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
td:first-child{min-width:15rem}td.n{text-align:right;width:4rem}.bar{background:#2f6fb3;height:.9rem;border-radius:.2rem;min-width:2px}
.words{color:#595959;font-size:.85rem}
"""


def page(rows: Sequence[Mapping[str, Any]], source: str, now: datetime) -> str:
    """Return the page; `source` is the mailbox that was looked at, `now` when."""
    entries = [row["entry"] for row in rows if row["would"] == "attach"]
    waiting = [row["entry"] for row in rows if row["would"] == "review"]
    others = [row for row in rows if row["would"] == "wait for its send"]
    body = [
        f"<h1>Bounces in {_text(source)}</h1>",
        f'<p class="when">Dry run of {now:%Y-%m-%d %H:%M} UTC. Nothing was written anywhere.</p>',
        _figures(rows, entries, waiting, others),
        _bars("Why emails came back", Counter(REASONS[entry["reason"]] for entry in entries)),
        _bars("Whose fault it was", Counter(FAULTS[entry["fault"]] for entry in entries)),
        _entries("What would stand on contacts' timelines", entries),
        _entries("What a person would be asked about", waiting),
        _others(others),
        _rest(rows),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Bounces: dry run</title>'
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _figures(
    rows: Sequence[Mapping[str, Any]],
    entries: Sequence[Mapping[str, Any]],
    waiting: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]],
) -> str:
    kinds = Counter(entry["type"] for entry in entries)
    contacts = {(entry["account"], entry["contact_id"] or entry["address"]) for entry in entries}
    figures = [
        (len({row["source"] for row in rows}), "messages read"),
        (len(contacts), "contacts with a bounce"),
        *((kinds[kind], words) for kind, words in TYPES.items()),
        (len(waiting), "for a person to decide"),
        (len(others), "answer no registered email"),
    ]
    cells = "".join(f"<li><b>{number:,}</b>{words}</li>" for number, words in figures)
    return f'<ul class="figures">{cells}</ul>'


def _bars(title: str, counts: Counter[str]) -> str:
    if not counts:
        return ""
    most = max(counts.values())
    lines = "".join(
        f'<tr><td>{_text(name)}</td><td class="n">{number:,}</td>'
        f'<td aria-hidden="true"><div class="bar" style="width:{100 * number / most:.0f}%"></div></td></tr>'
        for name, number in counts.most_common()
    )
    return f"<h2>{title}</h2><table>{lines}</table>"


def _entries(title: str, entries: Sequence[Mapping[str, Any]]) -> str:
    advice = load_advice("en")
    return _table(
        title,
        ("Contact", "What happened", "What to do"),
        (
            (
                f"{_text(entry['address'])}<br>{_words(entry['contact_id'])}",
                _happened(entry),
                _text(advise(advice, entry["type"], entry["reason"], entry["fault"])),
            )
            for entry in entries
        ),
    )


def _happened(entry: Mapping[str, Any]) -> str:
    return f"{REASONS[entry['reason']]}: {TYPES[entry['type']]}<br>{_words(entry['diagnostic'])}"


def _others(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        (
            _text(each["address"]),
            f"{_text(REASONS[each['reason']])}: {TYPES[each['type']]}<br>{_words(each['diagnostic'])}",
        )
        for row in rows
        for each in row["recipients"]
    ]
    note = "<p>Sent outside the CRM, or not registered. Nobody would be touched.</p>" if lines else ""
    return _table("Notices about other mail", ("Address", "What happened"), lines, note)


def _rest(rows: Sequence[Mapping[str, Any]]) -> str:
    kinds = Counter(row["kind"] for row in rows)
    told = [f"{kinds[kind]:,} {words}" for kind, words in OTHER_KINDS.items() if kinds[kind]]
    return f"<h2>Not bounces</h2><p>{'; '.join(told)}. No contact would be touched.</p>" if told else ""


def _table(title: str, columns: Sequence[str], lines: Iterable[Sequence[str]], note: str = "") -> str:
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines)
    if not body:
        return ""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return f"<h2>{title}</h2>{note}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _words(value: object) -> str:
    return f'<span class="words">{_text(value)}</span>' if value else ""


def _text(value: object) -> str:
    return html.escape(shown(value))
