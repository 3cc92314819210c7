"""What can go wrong with an answer: one function for each, for `FakeGraph.faults`."""

import time
from collections.abc import Callable

from tests.fakes.graph import answers
from tests.fakes.graph.server import Asked, Fault


def error(status: int, code: str = "UnknownError", **headers: str) -> Fault:
    return lambda asked: asked.reply(answers.error(status, code, **headers))


def text(body: bytes, status: int = 200) -> Fault:
    return lambda asked: asked.reply((status, {"Content-Type": "text/html"}, body))


def changed(change: Callable[[bytes], bytes]) -> Fault:
    """The true answer, with something put in another's place."""

    def act(asked: Asked) -> None:
        status, headers, body = asked.true_answer()
        asked.reply((status, headers, change(body)))

    return act


def then(*acts: Fault | None) -> Fault:
    """One fault after another, the last for ever; None is the true answer."""
    left = list(acts)

    def act(asked: Asked) -> None:
        now = left.pop(0) if len(left) > 1 else left[0]
        asked.reply(asked.true_answer()) if now is None else now(asked)

    return act


def drop(asked: Asked) -> None:
    asked.drop()


def hang(asked: Asked) -> None:
    asked.over.wait()


def cut(asked: Asked) -> None:
    """End the connection in the middle of an answer whose length was told."""
    body = asked.true_answer()[2]
    asked.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body[: len(body) // 2]))


def cut_unannounced(asked: Asked) -> None:
    """The same where nobody can tell by the length."""
    body = asked.true_answer()[2]
    asked.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s" % body[: len(body) // 2])


def endless(asked: Asked) -> None:
    asked.raw(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"value": [')
    while not asked.over.is_set():
        asked.raw(b"1," * 100_000)


def drip(asked: Asked) -> None:
    asked.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not asked.over.is_set():
        asked.raw(b" ")
        asked.handler.wfile.flush()
        time.sleep(0.02)
