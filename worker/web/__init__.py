"""What the worker is reached by over HTTP: people who come back from signing in, and providers that ring."""

from worker.web.app import make_web

__all__ = ["make_web"]
