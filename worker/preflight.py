"""`inbox check`: one step after the other, from the network to the notices; reads only, and writes nothing anywhere."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from connectors import (
    Connector,
    ConnectorError,
    Envelope,
    Folder,
    FolderRole,
    Metered,
    Settings,
    from_json,
    oauth,
    sign_in,
)
from connectors.endpoint import Endpoint, endpoint, greet
from connectors.oauth import Resource
from worker.detect import detect
from worker.pipeline import Context
from worker.screen import screen
from worker.store.credentials import DatabaseCredentials
from worker.store.inboxes import Inbox

EXPIRES_SOON: Final = timedelta(days=14)
LOOK_BACK: Final = (timedelta(days=1), timedelta(days=7), timedelta(days=30))
"""How far back mail is looked for: further only where nothing came."""
PAGES: Final = 10
SAMPLE: Final = 3
"""Notices that are read as an example."""
SAMPLE_BYTES: Final = 256 * 1024
IDENTITY: Final = frozenset({"openid", "profile", "email", "offline_access", "userinfo.email", "User.Read"})
"""Rights that come with signing in and show no mail."""
CLOCK_SKEW: Final = timedelta(minutes=5)
SHOWN_FOLDERS: Final = 12


class State(StrEnum):
    """How a step ended. Only a failed one means that the inbox can't be read."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the preflight, in one sentence for a person; `messages` and `notices` count what was looked at."""

    name: str
    state: State
    said: str
    messages: int = 0
    notices: int = 0


def preflight(context: Context, inbox: Inbox) -> Iterator[Step]:
    """Yield each step as it ends; the first failure is the last step."""
    try:
        settings = from_json(inbox.provider, inbox.settings)
        connector = context.connect(inbox)
    except ConnectorError as error:
        yield _failed("settings", error)
        return
    try:
        place = endpoint(settings)
        step = "folders" if place is None else "reach"
        if place is not None:
            yield from _reach(context, inbox, place)
            step = "sign-in"
        folders = connector.folders()
        if place is not None:
            yield from _signed_in(context, inbox, settings)
        yield from _folders(folders)
        step = "mail"
        yield from _mail(connector, context.now())
        if isinstance(connector, Metered):
            yield Step(name="quota", state=State.OK, said=connector.quota())
    except ConnectorError as error:
        yield _failed(step, error)
    finally:
        connector.close()


def _signed_in(context: Context, inbox: Inbox, settings: Settings) -> Iterator[Step]:
    """By whom, for how long, and with which rights."""
    secret, _ = DatabaseCredentials(context.engine, context.ring, inbox.id).load()
    user, end = oauth.user(secret), oauth.ends_at(secret)
    said = f"The server accepts the {'sign-in of ' + user if user else 'credentials'}."
    ends_soon = end is not None and end < context.now() + EXPIRES_SOON
    if end is not None:  # as the secret of an app does, and every sign-in to an app in testing
        said += f" They end on {end:%Y-%m-%d}: sign in again before, or change the secret."
    yield Step(name="sign-in", state=State.WARNING if ends_soon else State.OK, said=said)
    if rights := oauth.granted(secret):
        yield _rights(rights, sign_in.resource_of(settings))


def _rights(rights: Sequence[str], resource: Resource) -> Step:
    """Whether the right to read mail is among those granted, and whether there are others, which we never use."""
    wanted = {_right(each) for each in (resource.google_scope, resource.user_scope, resource.application_right)}
    others = sorted({_right(each) for each in rights} - wanted - IDENTITY)
    if wanted.isdisjoint(map(_right, rights)):
        said = f"Granted: {', '.join(others) or 'nothing'}; not granted: {' or '.join(sorted(filter(None, wanted)))}."
        return Step(name="rights", state=State.WARNING, said=f"{said} Have its user or an administrator consent.")
    said = f"Granted: {', '.join(sorted(wanted & set(map(_right, rights))))}."
    if others:
        said += f" Never used, and granted as well: {', '.join(others)}."
    return Step(name="rights", state=State.OK, said=said)


def _right(scope: str) -> str:
    """Return a scope without the address of its API: Microsoft writes it with and without."""
    return scope.removeprefix("https://").rpartition("/")[2] or scope


def _failed(step: str, error: ConnectorError) -> Step:
    return Step(name=step, state=State.FAILED, said=str(error))


def _reach(context: Context, inbox: Inbox, place: Endpoint) -> Iterator[Step]:
    """What can't be reached is left to the connector, which says best why."""
    try:
        greeting = greet(place, context.dial(inbox))
    except (OSError, ValueError):
        return
    yield Step(name="reach", state=State.OK, said=f"{place} answers, at {greeting.peer}.")
    if greeting.valid_until is None:
        return
    left = greeting.valid_until - context.now()
    said = f"{greeting.protocol}, certificate of {greeting.issuer}, valid until {greeting.valid_until:%Y-%m-%d}."
    if left < EXPIRES_SOON:
        said += f" It expires in {max(math.ceil(left / timedelta(days=1)), 0)} days: ask the server's operator."
    yield Step(name="encryption", state=State.WARNING if left < EXPIRES_SOON else State.OK, said=said)


def _folders(folders: Sequence[Folder]) -> Iterator[Step]:
    polled = [folder for folder in folders if folder.polled]
    others = sorted(folder.name for folder in folders if not folder.polled)
    said = f"Read: {', '.join(map(_shown, polled)) or 'none'}."
    if others:
        more = f" and {len(others) - SHOWN_FOLDERS} more" if len(others) > SHOWN_FOLDERS else ""
        said += f" Not read: {', '.join(others[:SHOWN_FOLDERS])}{more}."
    roles = {folder.role for folder in polled}
    missing = []
    if FolderRole.INBOX not in roles:
        missing.append("The inbox itself is not among the folders read: add it with --folder, unless a rule moves all.")
    if FolderRole.JUNK not in roles:
        missing.append("No junk folder is read, where filters put notices too: name it with --folder.")
    if FolderRole.SENT not in {folder.role for folder in folders}:
        missing.append("No folder of sent mail was found, so ids that a provider rewrote can't be learned.")
    state = State.WARNING if missing else State.OK
    yield Step(name="folders", state=state, said=" ".join([said, *missing]))


def _shown(folder: Folder) -> str:
    return folder.name if folder.messages is None else f"{folder.name} ({folder.messages:,})"


def _mail(connector: Connector, now: datetime) -> Iterator[Step]:
    for days in LOOK_BACK:
        seen, more = _look(connector, now - days)
        if seen:
            break
    maybe = [envelope for envelope, passed in seen if passed]
    at_least = "at least " if more else ""
    since = f"in the last {days.days} days" if days.days > 1 else "in the last day"
    dates = [envelope.received_at for envelope, _ in seen if envelope.received_at]
    if not seen:
        said = f"No mail came {since}: is this the inbox that people write to?"
        yield Step(name="mail", state=State.WARNING, said=said)
        return
    newest = max(dates, default=None)
    when = f", the newest at {newest:%Y-%m-%d %H:%M} UTC" if newest else ""
    said = f"{at_least}{len(seen)} messages came {since}{when}."
    ahead = newest is not None and newest > now + CLOCK_SKEW
    if ahead:
        said += " That is in the future: set this machine's clock, or the server's."
    yield Step(
        name="mail", state=State.WARNING if ahead else State.OK, said=said[0].upper() + said[1:], messages=len(seen)
    )
    found = [_read(connector, envelope) for envelope in maybe[-SAMPLE:]]
    said = f"{at_least}{len(maybe)} of them may be notices" + (f"; the newest: {'; '.join(found)}." if found else ".")
    yield Step(name="notices", state=State.OK, said=said[0].upper() + said[1:], notices=len(maybe))


def _look(connector: Connector, since: datetime) -> tuple[list[tuple[Envelope, bool]], bool]:
    """Return the first messages since, each with whether it may be a notice, and whether there are more."""
    page = connector.poll(since)
    seen = [(envelope, page.prefiltered or screen(envelope)) for envelope in page.envelopes]
    for _ in range(PAGES - 1):
        if not page.has_more:
            break
        page = connector.poll(page.cursor)
        seen += [(envelope, page.prefiltered or screen(envelope)) for envelope in page.envelopes]
    return seen, page.has_more


def _read(connector: Connector, envelope: Envelope) -> str:
    try:
        report = detect(connector.fetch(envelope.ref, SAMPLE_BYTES).raw)
    except ConnectorError as error:
        return str(error).rstrip(".")
    about = ", ".join(r.final_recipient or r.original_recipient or "nobody named" for r in report.recipients[:2])
    return f"{report.kind} about {about}" if about else str(report.kind)
