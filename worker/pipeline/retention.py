"""Sends that are too old to be answered go, in lots: bounces and timelines carry what they need and stay."""

import logging
from datetime import datetime
from typing import Final

from worker.pipeline.context import Context
from worker.store import retention
from worker.store.database import retried, writing

log = logging.getLogger(__name__)

LOTS: Final = 10
"""Transactions a turn: what a night has to catch up with goes fast, and other tasks get their turn too."""


def drop_sends(context: Context) -> int:
    """Drop sends that are older than they are kept, if there are any; return how many."""
    if context.keep_sends is None:
        return 0
    before = context.now() - context.keep_sends
    dropped = 0
    for _ in range(LOTS):
        lot = _drop_lot(context, before)
        dropped += lot
        if lot < retention.AT_ONCE:
            break
    if dropped:
        log.info("sends.dropped", extra={"sends": dropped})
    return dropped


@retried
def _drop_lot(context: Context, before: datetime) -> int:
    with writing(context.engine) as connection:
        return retention.drop_sends(connection, before)
