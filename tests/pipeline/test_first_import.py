"""A CRM brings all that it ever sent into a database that was empty a moment ago."""

import pytest
import sqlalchemy as sa

from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import pipeline
from worker.store.database import reading

LOT = 500
READ = sa.text(
    "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'sends')"
    " + (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'sends')"
)


def read(world: World) -> int:
    world.context.engine.dispose()  # a session that ends tells what it has read
    with reading(world.context.engine) as connection:
        return int(connection.execute(READ).scalar_one())


@pytest.mark.parametrize("world", ["postgresql"], indirect=True)
def test_a_first_import_goes_on_as_fast_as_it_began(world: World):
    """PostgreSQL would go on by a plan for an empty table: every lot would read all that was there before."""
    at = []
    for lots in (range(10), range(10, 30)):
        for lot in lots:
            batch = [sent(n, f"p{n}@customer.example") for n in range(lot * LOT, (lot + 1) * LOT)]
            pipeline.register(world.context, batch)
        at.append(read(world))
    assert at[1] - at[0] < 3 * 20 * LOT
