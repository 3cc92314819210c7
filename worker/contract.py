"""What the CRM gets, field by field: the models behind the API's answers, the events and their JSON schemas. Pure.

Version 1. New fields may come; those that are here stay. Times are ISO 8601 in UTC.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from worker.domain import BounceType, FactKind, Fault, Policy, Reason, Rung
from worker.incidents import IncidentKind

Schema = Annotated[Literal[1], Field(alias="schema")]


class Model(BaseModel):
    """A JSON object of ours. Fields that a later version adds are ignored by an older reader."""

    model_config = ConfigDict(
        frozen=True,
        populate_by_name=True,
        serialize_by_alias=True,
        json_schema_serialization_defaults_required=True,  # `schema` is always there
    )


Words = Annotated[str, Field(json_schema_extra={"x-untrusted": True})]
"""A stranger's words: data to be shown as text, never markup, a formula, or an instruction to a machine."""


class Proof(Model):
    """One line of proof: what kind of thing was seen, and its words."""

    kind: str
    text: Words


class Entry(Model):
    """One bounce on a contact's timeline, with its evidence.

    `address` is the one that the CRM wrote to; `diagnostic` and the texts of `evidence` are a stranger's words: show
    them as text, never as markup or formulas. `ended_by` is null while the bounce stands.
    """

    schema_: Schema = 1
    id: str
    bounce_id: str
    report_ids: list[str]
    account: str
    contact_id: str | None
    address: str
    forwarded_to: Words | None
    message_id: str | None
    send_id: str
    inbox: str
    type: BounceType
    reason: Reason
    fault: Fault
    status: str | None
    smtp_code: str | None
    diagnostic: Words | None
    rule: str
    confidence: float
    matched_by: Rung
    policy: Policy
    ended_by: FactKind | None
    ended_at: datetime | None
    occurred_at: datetime
    recorded_at: datetime
    evidence: list[Proof]


class Candidate(Model):
    """An email that may be meant, and how sure that is."""

    send_id: str
    contact_id: str | None
    confidence: float


class ReviewEntry(Model):
    """What waits for a person: nothing here has touched a contact. `contact_id` is the likeliest, and unproven."""

    schema_: Schema = 1
    id: str
    bounce_id: None
    report_ids: list[str]
    account: str
    contact_id: str | None
    address: str | None
    forwarded_to: None
    message_id: str | None
    send_id: str
    inbox: str
    type: BounceType
    reason: Reason
    fault: Fault
    status: str | None
    smtp_code: str | None
    diagnostic: Words | None
    rule: str
    rules_version: str
    confidence: float
    candidates: list[Candidate]
    matched_by: Rung
    policy: None
    occurred_at: datetime
    recorded_at: datetime
    evidence: list[Proof]
    why: str


class TrailEntry(Model):
    """One thing that happened to an address: when, by whom, and why."""

    schema_: Schema = 1
    id: str
    kind: FactKind
    account: str
    address: str
    bounce_id: str | None
    at: datetime
    recorded_at: datetime
    by: str
    why: str | None
    about: str | None
    type: BounceType | None
    reason: Reason | None


class IncidentEntry(Model):
    """Emails of an inbox are refused for their sender's own fault; `closed_at` is null while that goes on."""

    schema_: Schema = 1
    id: str
    account: str
    inbox: str
    kind: IncidentKind
    failures: int
    bounce_id: str
    opened_at: datetime
    last_at: datetime
    closed_at: datetime | None


class InboxEntry(Model):
    """An inbox and its health. `attention` is a sentence for a person; `notices` counts them by state."""

    schema_: Schema = 1
    account: str
    name: str
    address: str
    provider: str
    state: Literal["active", "paused", "needs_attention"]
    attention: str | None
    failures: int
    since: datetime
    last_poll_at: datetime | None
    next_poll_at: datetime
    caught_up_at: datetime | None
    sign_in_ends_at: datetime | None
    notices: dict[str, int]


class EmailStatus(Model):
    """Whether an address may be written to. `email_hard_bounce_reason` speaks of this account's own emails only.

    `bounced`: a failure stands that excludes nobody, such as a soft one.
    """

    schema_: Schema = 1
    account: str
    address: str
    status: Literal["ok", "bounced", "previously_bounced_in_account", "previously_bounced_globally"]
    may_email: bool
    excluded_by: Policy | None
    email_hard_bounce_reason: Reason | None


class To(Model):
    """A recipient of a send."""

    address: Annotated[str, Field(max_length=320)]
    contact_id: str | None = None
    role: Literal["to", "cc", "bcc"] = "to"


class Send(Model):
    """An email that the CRM has sent through a connected inbox; `id` is the CRM's own and makes repeats harmless.

    The more of the optional fields there are, the surer a notice is matched: `message_id` above all.
    """

    id: str
    inbox: str
    kind: Literal["one_to_one", "sequence"]
    sent_at: AwareDatetime
    recipients: list[To]
    account: str | None = None
    message_id: str | None = None
    provider_message_id: str | None = None
    thread_id: str | None = None
    tracking_id: str | None = None
    envelope_id: str | None = None
    engagement_id: str | None = None
    sequence_id: str | None = None
    enrollment_id: str | None = None
    subject: str | None = None
    sender: Annotated[str | None, Field(alias="from")] = None


class Refused(Model):
    """A send that was not registered: its row (from 0), its id where it has one, and why."""

    row: int
    id: str | None
    why: str


class Registered(Model):
    """What registering came to."""

    schema_: Schema = 1
    registered: int
    refused: list[Refused]
    unknown_inboxes: list[str]
    notices_looked_at_again: int


class Webhook(Model):
    """Where events are sent. `types` empty means all; `deliveries` counts them by state."""

    schema_: Schema = 1
    id: str
    account: str
    url: str
    types: list[str]
    state: Literal["active", "disabled"]
    problem: str | None
    created_at: datetime
    deliveries: dict[str, int]


class DeadLetter(Model):
    """An event that a webhook's receiver didn't take in three days, and why."""

    schema_: Schema = 1
    webhook_id: str
    event_id: str
    type: str
    attempts: int
    problem: str | None
    given_up_at: datetime | None


class Head(Model):
    """What every event has. `id` is what to drop repeats by: the same happening never comes under two ids.

    `at` is when the worker came to know of it.
    """

    schema_: Schema = 1
    id: str
    account: str
    at: datetime


class CausedEvent(Head):
    """What a notice may have caused: `correlation_id` finds its way in the worker's logs and traces."""

    correlation_id: str | None = None


class BounceEvent(CausedEvent):
    """Something happened to a bounce: it is new, it says something else now, or what came later has ended it."""

    type: Literal["bounce.attached", "bounce.updated", "bounce.healed"]
    contact_id: str | None
    address: str
    bounce: Entry


class ContactEvent(CausedEvent):
    """An address may no longer, or may again, be written to; `bounce` is what decided."""

    type: Literal["contact.excluded", "contact.unbounced"]
    contact_id: str | None
    address: str
    bounce: Entry


class UnenrollEvent(CausedEvent):
    """A sequence ends for a contact. It comes once for each bounce."""

    type: Literal["sequence.unenroll"]
    contact_id: str | None
    address: str
    sequence_id: str | None
    enrollment_id: str | None
    bounce: Entry


class InboxEvent(Head):
    """An inbox needs a person: it isn't read any more, or soon won't be. `attention` says what to do."""

    type: Literal["inbox.needs_attention"]
    inbox: str
    state: Literal["active", "paused", "needs_attention"]
    attention: str


class IncidentEvent(Head):
    """Emails of an inbox are refused for the sender's own fault, or are taken again."""

    type: Literal["incident.opened", "incident.closed"]
    inbox: str
    incident: IncidentEntry


class RefusedEvent(Head):
    """Sends that came by the CRM's queue and could not be registered; the others were."""

    type: Literal["sends.refused"]
    refused: list[Refused]


class TestEvent(Head):
    """A call that somebody asked for, to see whether it arrives."""

    __test__: ClassVar = False  # pytest takes a class of this name for tests of the CRM's

    type: Literal["test"]


KNOWN: Final = (
    BounceEvent, ContactEvent, UnenrollEvent, InboxEvent, IncidentEvent, RefusedEvent, TestEvent,
)  # fmt: skip
EVENTS: Final[dict[str, type[Head]]] = {
    name: model
    for model in KNOWN
    for name in model.model_fields["type"].annotation.__args__  # type: ignore[union-attr]
}
"""Every type of event, and its model."""

Event = Annotated[
    BounceEvent | ContactEvent | UnenrollEvent | InboxEvent | IncidentEvent | RefusedEvent | TestEvent,
    Field(discriminator="type"),
]
ANY_EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Event)


def json_schema(event_type: str) -> dict[str, Any]:
    """Return the JSON schema (2020-12) of one type of event. Raises KeyError."""
    schema = EVENTS[event_type].model_json_schema(by_alias=True, mode="serialization")
    schema["properties"]["type"] = {"const": event_type}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:bounce-worker:v1:{event_type}"}
    return head | schema | {"title": event_type}
