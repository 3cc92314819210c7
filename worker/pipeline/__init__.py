"""The way of a message: poll → screen → fetch → detect → match → classify → attach → notify.

    claims      which inboxes are due, each with a fencing token            (register.sweep finds what was lost)
    poll        poll → screen: (inbox, reference) pending + cursor, one transaction a page
    process     fetch → detect, then match → classify → attach: bounce, timeline entry, address state, outbox and
                "done" in one transaction a batch
    notify      after the commit: outbox rows to the CRM's queue
    webhooks    and, numbered for the feed, to webhooks
    doorbells   providers that call us when mail has come; a call only makes an inbox due
    retention   sends that are too old to be answered go, in lots
    register    what the CRM sent; makes the unmatched notices that name it pending again

Only this room opens the transactions of that way. Each step may be run twice: the second run changes nothing. No
transaction is open while a mailbox, a queue or the CRM is spoken to.
"""

from worker.pipeline.claim import AT_ONCE, claim, claim_due, claims
from worker.pipeline.context import Context, batches
from worker.pipeline.doorbells import Call, gmail_called, graph_called, renew_doorbells
from worker.pipeline.notify import notify
from worker.pipeline.poll import Polled, poll
from worker.pipeline.process import process
from worker.pipeline.register import Refused, Registered, idle, register, sweep, take, take_message
from worker.pipeline.retention import drop_sends
from worker.pipeline.webhooks import call_webhooks, carry, number_events, test_webhook

__all__ = [
    "AT_ONCE",
    "Call",
    "Context",
    "Polled",
    "Refused",
    "Registered",
    "batches",
    "call_webhooks",
    "carry",
    "claim",
    "claim_due",
    "claims",
    "drop_sends",
    "gmail_called",
    "graph_called",
    "idle",
    "notify",
    "number_events",
    "poll",
    "process",
    "register",
    "renew_doorbells",
    "sweep",
    "take",
    "take_message",
    "test_webhook",
]
