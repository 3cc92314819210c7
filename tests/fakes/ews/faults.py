"""What can go wrong with an answer: one function for each, for `FakeExchange.faults`."""

import time

from tests.fakes.ews import answers
from tests.fakes.ews.server import Asked, Fault


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    return lambda asked: asked.answer(body, code, **headers)


def error(code: str, text: str = "No.", back_off: int | None = None) -> Fault:
    """An error inside a response message, for as many messages as were asked for."""

    def act(asked: Asked) -> None:
        count = asked.request.count(b"<t:ItemId ") or 1
        message = answers.failure(asked.operation, code, text, back_off)
        asked.answer(answers.response(asked.operation, [message] * count))

    return act


def soap_fault(code: str, text: str = "No.", back_off: int | None = None) -> Fault:
    return lambda asked: asked.answer(answers.fault(code, text, back_off), 500)


def busy(milliseconds: int | None = None) -> Fault:
    return soap_fault("ErrorServerBusy", "The server cannot service this request right now.", milliseconds)


def text(body: bytes) -> Fault:
    return lambda asked: asked.answer(body)


def changed(old: bytes, new: bytes) -> Fault:
    """The true answer, with something put in another's place."""

    def act(asked: Asked) -> None:
        true = asked.true_answer()
        assert old in true
        asked.answer(true.replace(old, new))

    return act


def drop(asked: Asked) -> None:
    asked.drop()


def hang(asked: Asked) -> None:
    asked.over.wait()


def cut(asked: Asked) -> None:
    """End the connection in the middle of an answer whose length was told."""
    body = asked.true_answer()
    asked.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body[: len(body) // 2]))


def cut_unannounced(asked: Asked) -> None:
    """The same where nobody can tell by the length."""
    body = asked.true_answer()
    asked.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s" % body[: body.rindex(b"</m:ResponseMessages>")])


def endless(asked: Asked) -> None:
    asked.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<s:Envelope>")
    while not asked.over.is_set():
        asked.raw(b"<x>" * 100_000)


def drip_unannounced(asked: Asked) -> None:
    drip(asked, b"HTTP/1.1 200 OK\r\n\r\n")


def drip(asked: Asked, head: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n") -> None:
    asked.raw(head)
    while not asked.over.is_set():
        asked.raw(b" ")
        asked.handler.wfile.flush()
        time.sleep(0.02)
