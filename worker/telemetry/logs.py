"""Logs: one event a line, as JSON or for a terminal, and no personal data above debug.

That is kept by construction. Of our own records the event's name and its fields are printed, and fields are ids, names
of states, and figures (`tests/test_logs.py` reads every call). Of other people's records only the template is printed,
without what would be filled in. Of an exception only its type and where it came from: its words may quote mail, and a
database's words quote rows. At debug all of it is printed: turn that on for an hour, on data that you may read.
"""

import json
import linecache
import logging
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TextIO

from worker.signals import Signal

OURS: Final = ("worker", "connectors")
STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has, besides the fields that were given to it."""
FRAMES: Final = 12
"""How many frames of a traceback are printed, the innermost ones."""

CALL_LINES: Final = 4
"""Over how many further lines a call's literal text is looked for."""

_bound: ContextVar[Mapping[str, Any]] = ContextVar("bound", default={})  # noqa: B039 - never changed, only replaced
_log = logging.getLogger("worker")


@contextmanager
def bound(**fields: Any) -> Iterator[None]:  # noqa: ANN401 - JSON values
    """Add fields to all that is logged inside."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def bind(fields: Mapping[str, Any]) -> None:
    """Replace the fields that are added to all that this thread logs."""
    _bound.set(fields)


def tell(signal: Signal) -> None:
    """Log a signal."""
    if _log.isEnabledFor(signal.level):
        _log.log(signal.level, signal.event, extra=signal.values())


def configure(role: str, *, as_json: bool | None, level: int, stream: TextIO | None = None) -> None:
    """Have this process log to `stream` (standard error); `as_json` None means unless a person is looking on."""
    out = stream or sys.stderr
    is_json = not out.isatty() if as_json is None else as_json
    line = Lines(role, is_json=is_json, with_words=level <= logging.DEBUG)
    target = logging.StreamHandler(out)
    target.setFormatter(line)
    root = logging.getLogger()
    root.handlers[:] = [target]
    root.setLevel(logging.WARNING if level > logging.DEBUG else level)
    for name in OURS:
        logging.getLogger(name).setLevel(level)


def catch_the_rest() -> None:
    """Log what nobody catches like all else: Python's own way would print its words."""
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    _log.critical("process.failed", exc_info=(kind, error or kind(), trace))


class Lines(logging.Formatter):
    """Makes a line of a record. `with_words` says that words of strangers may be printed."""

    def __init__(self, role: str, *, is_json: bool, with_words: bool) -> None:
        super().__init__()
        self._role = role
        self._is_json = is_json
        self._with_words = with_words

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        fields = self._fields(record)
        if self._is_json:
            return json.dumps(fields, ensure_ascii=False, default=str)
        time, level, event = (fields.pop(name) for name in ("time", "level", "event"))
        fields.pop("process")
        stack = fields.pop("stack", [])
        told = " ".join(f"{name}={_shown(value)}" for name, value in fields.items())
        return "\n    ".join([f"{time} {level.upper():<7} {event} {told}".rstrip(), *stack])

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        is_ours = record.name.split(".")[0] in OURS
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": str(record.msg) if is_ours else self._foreign(record),
            "process": f"{self._role}-{record.process}",
            **_bound.get(),
        }
        if is_ours:
            fields |= {name: value for name, value in vars(record).items() if name not in STANDARD}
        else:
            fields["logger"] = record.name
        if record.exc_info and record.exc_info[1] is not None:
            fields |= self._error(record.exc_info[1])
        return fields

    def _foreign(self, record: logging.LogRecord) -> str:
        if self._with_words:
            return record.getMessage()
        template = record.msg if isinstance(record.msg, str) else ""
        if record.args or _is_literal(record, template):
            return template
        # A library has filled the text in itself, with whatever it was about: say only where to look.
        return f"{record.pathname}:{record.lineno}"

    def _error(self, error: BaseException) -> dict[str, Any]:
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
        told: dict[str, Any] = {
            "error": _name(error),
            "causes": [_name(each) for each in _causes(error)],
            "codes": [code for each in (error, *_causes(error)) if (code := _code(each))],
            "stack": [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames],
        }
        if self._with_words:
            told["words"] = str(error)
        return {name: value for name, value in told.items() if value}


def _is_literal(record: logging.LogRecord, text: str) -> bool:
    """Whether a text stands in the source as it is, so that nothing was filled in."""
    lines = linecache.getlines(record.pathname)[record.lineno - 1 : record.lineno + CALL_LINES]
    return bool(text.strip()) and text.strip() in "".join(lines)


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _code(error: BaseException) -> str | None:
    """Return the database's own code of an error, such as SQLITE_FULL or 40P01: it says why, and names nobody."""
    return getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _shown(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else json.dumps(text, ensure_ascii=False)
