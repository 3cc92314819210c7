"""Proof by something that only our own email carried: its Message-ID, a token, its thread."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.domain import (
    DeliveryReport,
    Match,
    Recipient,
    RecipientReport,
    Rung,
    SentEmail,
    address_key,
    bare_id,
)
from worker.match.outcome import Doubtful, Outcome, Unmatched

CONFIDENCE: Final[Mapping[Rung, float]] = {
    Rung.ORIGINAL_MESSAGE_ID: 0.99,
    Rung.TOKEN: 0.97,
    Rung.DIRECT_REPLY: 0.9,
    Rung.THREAD: 0.85,
}
"""How sure each rung is, in the order in which they are tried. A reply may name an earlier mail of its thread."""

UNNAMED_RECIPIENT: Final = 0.9
"""Factor for a notice that names no recipient and answers an email that had only one."""


@dataclass(frozen=True, slots=True)
class Key:
    """Something a sent email is known by: ``message_id`` or ``token``, and its value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Proof:
    """A key found in a report, and the rung that it stands on. `tokens` are all that the report gives back."""

    rung: Rung
    key: Key
    tokens: tuple[str, ...] = ()


def send_keys(send: SentEmail) -> tuple[Key, ...]:
    """Return everything that a report may name `send` by."""
    ids = [Key("message_id", bare_id(send.message_id))] if send.message_id else []
    tokens = (Key("token", token) for token in (send.tracking_id, send.envelope_id) if token)
    return (*ids, *tokens, *([Key("thread", send.thread_id)] if send.thread_id else []))


def keys(report: DeliveryReport, thread_id: str | None = None) -> tuple[Proof, ...]:
    """Return what to look up for `report`, the strongest proof first. `thread_id` is the provider's, if it has one."""
    tokens = [*report.original.tokens, *([report.envelope_id] if report.envelope_id else [])]
    tokens += report.original.return_tokens
    given = report.original.tokens
    found = [
        *(Proof(Rung.ORIGINAL_MESSAGE_ID, Key("message_id", bare_id(i)), given) for i in report.original.message_ids),
        *(Proof(Rung.TOKEN, Key("token", token)) for token in tokens),
        *(Proof(Rung.DIRECT_REPLY, Key("message_id", bare_id(i))) for i in report.in_reply_to),
        *([Proof(Rung.THREAD, Key("thread", thread_id))] if thread_id else []),
    ]
    return tuple(dict.fromkeys(proof for proof in found if proof.key.value))


def prove(
    report: DeliveryReport,
    recipient: RecipientReport | None,
    found: Mapping[Key, Sequence[SentEmail]],
    thread_id: str | None = None,
) -> Outcome:
    """Say whose email a report names by id; see `match`."""
    doubt: Doubtful | None = None
    for proof in keys(report, thread_id):
        for send in found.get(proof.key, ()):
            outcome = _recipient_of(send, recipient, proof)
            if isinstance(outcome, Match):
                return outcome
            if proof.rung is not Rung.THREAD:  # a thread proves nothing without the recipient
                doubt = doubt or outcome
        # A weaker rung may not overrule the email that a stronger one named.
        if doubt and proof.rung is Rung.ORIGINAL_MESSAGE_ID:
            return doubt
    return doubt or Unmatched()


def _recipient_of(send: SentEmail, report: RecipientReport | None, proof: Proof) -> Match | Doubtful:
    if report is None:
        return _sole_recipient(send, proof)
    if send.tracking_id and proof.tokens and send.tracking_id not in proof.tokens:
        return Doubtful(send=send, rung=proof.rung, why="the notice gives back a tracking token that isn't the email's")
    final = _written_to(send, report.final_recipient)
    if final is not None:
        return _proven(send, final, proof)
    original = _written_to(send, report.original_recipient)
    if original is not None:
        return _proven(send, original, proof, forwarded_to=report.final_recipient)
    return Doubtful(send=send, rung=proof.rung, why=f"the email was not written to {report.final_recipient}")


def _sole_recipient(send: SentEmail, proof: Proof) -> Match | Doubtful:
    if len(send.recipients) != 1:
        return Doubtful(send=send, rung=proof.rung, why="the notice names no recipient and the email had several")
    return _proven(send, send.recipients[0], proof, factor=UNNAMED_RECIPIENT)


def _written_to(send: SentEmail, address: str | None) -> Recipient | None:
    wanted = address_key(address or "")
    return next((r for r in send.recipients if address_key(r.address) == wanted), None)


def _proven(
    send: SentEmail, recipient: Recipient, proof: Proof, *, factor: float = 1.0, forwarded_to: str | None = None
) -> Match:
    return Match(
        send=send,
        recipient=recipient,
        rung=proof.rung,
        confidence=round(CONFIDENCE[proof.rung] * factor, 3),
        evidence=tuple(_evidence(send, recipient, proof, factor, forwarded_to)),
        forwarded_to=forwarded_to,
    )


def _evidence(
    send: SentEmail, recipient: Recipient, proof: Proof, factor: float, forwarded_to: str | None
) -> Iterable[str]:
    where = {
        Rung.ORIGINAL_MESSAGE_ID: "The notice gives back the original's Message-ID",
        Rung.TOKEN: "The notice gives back the original's token",
        Rung.DIRECT_REPLY: "The notice is a direct reply to Message-ID",
        Rung.THREAD: "The mail provider put the notice in the thread",
    }[proof.rung]
    yield f"{where} {proof.key.value}, which is the CRM's email {send.id}."
    if forwarded_to:
        yield f"The email was written to {recipient.address}, whose mail was forwarded to {forwarded_to}."
    elif factor < 1:
        yield f"The notice names no recipient; the email was written to {recipient.address} only."
    else:
        yield f"The notice names {recipient.address}, to whom the email was written."
