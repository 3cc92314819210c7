"""The web application over a world of one account, on SQLite."""

from tests.pipeline.conftest import world

__all__ = ["world"]
