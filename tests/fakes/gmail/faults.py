"""What can go wrong with an answer: one function for each, for `FakeGmail.faults`."""

import json
import time

from tests.fakes.gmail.answers import error
from tests.fakes.gmail.server import Asked, Fault


def refuse(status: int, reason: str, message: str = "No.", domain: str = "global", **headers: str) -> Fault:
    """Refuse as Google's API does."""
    return lambda asked: asked.answer(json.dumps(error(status, message, reason, domain)[1]).encode(), status, **headers)


def status(code: int, body: bytes = b"", kind: str = "text/html", **headers: str) -> Fault:
    return lambda asked: asked.answer(body, code, kind, **headers)


def text(body: bytes, kind: str = "application/json") -> Fault:
    return lambda asked: asked.answer(body, kind=kind)


def drop(asked: Asked) -> None:
    asked.drop()


def hang(asked: Asked) -> None:
    asked.over.wait()


def cut(asked: Asked) -> None:
    """End the connection in the middle of an answer whose length was told."""
    body, _ = asked.true_answer()
    asked.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body[: len(body) // 2]))


def cut_unannounced(asked: Asked) -> None:
    """The same where nobody can tell by the length."""
    body, kind = asked.true_answer()
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {kind}\r\n\r\n".encode()
    asked.raw(head + body[: len(body) * 2 // 3])


def endless(asked: Asked) -> None:
    asked.raw(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"x": "')
    while not asked.over.is_set():
        asked.raw(b"x" * 100_000)


def drip(asked: Asked) -> None:
    asked.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not asked.over.is_set():
        asked.raw(b" ")
        asked.handler.wfile.flush()
        time.sleep(0.02)


def inside(code: int, reason: str, share: int = 2) -> Fault:
    """Refuse each second call of a batch (or each of `share`), or all of a request that is none."""

    def act(asked: Asked) -> None:
        if asked.ids is None:
            refuse(code, reason)(asked)
            return
        refused = {each.path["id"]: error(code, "No.", reason) for each in asked.calls[::share]}
        before, asked.fake.inner = asked.fake.inner, refused
        body, kind = asked.true_answer()
        asked.fake.inner = before
        asked.answer(body, kind=kind)

    return act
