"""A deployment over fake mailboxes, with a clock that the test owns."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors import MaildirSettings
from tests.fakes.mailbox import FakeMailbox
from tests.fakes.notices import NOW
from worker import admin, pipeline
from worker.classify import default_rule_paths, load_rules
from worker.pipeline import Context
from worker.store import outbox
from worker.store.database import reading
from worker.store.inboxes import Inbox, InboxState
from worker.store.keyring import KeyRing, new_key

RULES = load_rules(default_rule_paths())
RING = KeyRing.parse([new_key()])


@dataclass
class World:
    """A deployment of one account with a clock that the test owns."""

    context: Context
    mailboxes: dict[str, FakeMailbox]
    delivered: list[dict]
    now: datetime = NOW
    task: int = 0

    def inbox(self, name: str = "alice", account: str = "acme") -> Inbox:
        self.mailboxes[f"{account}/{name}"] = FakeMailbox()
        settings = MaildirSettings(path="/nowhere")
        since = NOW - timedelta(days=1)
        request = admin.InboxRequest(
            account=account,
            name=name,
            address=f"{name}@{account}.example",
            settings=settings,
            since=since,
            trusted=True,
        )
        return admin.add_inbox(self.context, request)

    def deliver(self, raw: bytes, name: str = "alice", account: str = "acme") -> None:
        self.mailboxes[f"{account}/{name}"].deliver(raw, NOW)

    def work(self) -> dict[str, int]:
        """Poll every active inbox and work off all that is due, as the tasks would."""
        counts: dict[str, int] = {}
        for inbox, _ in admin.all_inboxes(self.context):
            more = inbox.state is InboxState.ACTIVE
            while more:
                token = pipeline.claim(self.context, inbox.id)
                assert token is not None
                polled = pipeline.poll(self.context, inbox.id, token)
                more = polled.has_more
                for batch in pipeline.batches(polled.notice_ids):
                    self._process(inbox.id, batch, counts)
        for inbox_id, batches in pipeline.sweep(self.context).items():
            for batch in batches:
                self._process(inbox_id, batch, counts)
        pipeline.drop_sends(self.context)
        while pipeline.notify(self.context):
            pass
        return counts

    def _process(self, inbox_id: str, batch: list[int], counts: dict[str, int]) -> None:
        self.task += 1
        for state, number in pipeline.process(self.context, inbox_id, batch, f"task {self.task}").items():
            counts[state] = counts.get(state, 0) + number

    def timeline(self, account: str = "acme") -> list[dict]:
        return admin.timeline(self.context, account)

    def events(self) -> list[tuple[str, str]]:
        with reading(self.context.engine) as connection:
            return [(row.type, row.event_id) for row in outbox.all_rows(connection)]
