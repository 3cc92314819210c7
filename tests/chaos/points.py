"""The fault points: before and after each write, send, acknowledgement and call, read from the product's own source.

Nobody keeps this list. A transaction that is written tomorrow is a point tomorrow, and the run that doesn't come past
it fails; what no run can come past is named in `NOT_ON_THE_WAY` and `UNREACHED`, with the reason.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

WORKER: Final = Path(__file__).resolve().parents[2] / "worker"
OPENERS: Final = frozenset({"writing", "retried"})
"""What opens a transaction that writes."""
RINGERS: Final = frozenset({"_ring", "_ring_all"})
"""What sends tasks in `worker.tasks`."""
MOMENTS: Final = ("before", "after")
OUTSIDE: Final = ("webhook.call", "crm.deliver")
"""Calls to the outside that aren't a connector's: see `tests.chaos.hooks`."""
INTAKE: Final = ("intake._take", "intake._done", "intake._put_back")
"""What the intake does to the CRM's queue on Redis."""

NOT_ON_THE_WAY: Final = {
    "access": "a person makes keys",
    "admin": "a person's command",
    "decisions": "a person decides",
    "declare": "a person's command",
    "everywhere": "a person's command",
    "hooks": "a person adds webhooks",
    "people": "a person's command",
    "pipeline.doorbells": "needs a provider that calls us; a call only makes an inbox due, and polling finds the rest",
    "store.database": "opens what the others open",
    "store.retry": "opens what the others open",
    "watch": "a bell that only makes an inbox due",
    "web.callers": "when a key was last used",
    "web.sign_in": "a person signs in",
}
"""Rooms whose transactions no notice and no event depends on, or which others open."""

UNREACHED: Final = {
    "process._try_again_later": "only where our own code fails on a notice: tests/pipeline/test_faults.py",
    "credentials.save": "only where a provider renews a grant: tests/connectors and tests/store/test_credentials.py",
    "tasks.run_scheduler>renew_doorbells": "only where providers call us (see pipeline.doorbells)",
    "ack.renew_doorbells": "only where providers call us (see pipeline.doorbells)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a function opens a transaction that writes; the lines are those of the opening call."""

    name: str
    file: str
    first: int
    last: int


@cache
def sites() -> tuple[Site, ...]:
    """Return every place on the way of a message or an event that writes."""
    return tuple(site for path in sorted(WORKER.rglob("*.py")) for site in _sites(path))


@cache
def wanted() -> frozenset[str]:
    """Return the points that a run must have killed somebody at."""
    names = [*(site.name for site in sites()), *_sends(), *_acks(), *_connector_calls(), *OUTSIDE]
    unknown = UNREACHED.keys() - set(names)
    assert not unknown, f"UNREACHED names what isn't there any more: {sorted(unknown)}"
    return frozenset(f"{name}:{moment}" for name in names if name not in UNREACHED for moment in MOMENTS)


def _sites(path: Path) -> Iterator[Site]:
    room = ".".join(path.relative_to(WORKER).with_suffix("").parts)
    if room in NOT_ON_THE_WAY:
        return
    for function in _functions(path):
        opened = [call for call in _calls(function) if _name(call.func) in OPENERS]
        for number, call in enumerate(sorted(opened, key=lambda call: call.lineno), 1):
            more = f"#{number}" if len(opened) > 1 else ""
            name = f"{path.stem}.{function.name}{more}"
            yield Site(name=name, file=str(path), first=call.lineno, last=call.end_lineno or call.lineno)


def _sends() -> Iterator[str]:
    """Yield each bell that a function of `worker.tasks` rings, such as ``tasks.poll_inbox>process_reports``."""
    constants = _constants(WORKER / "tasks.py")
    for function in _functions(WORKER / "tasks.py"):
        asked = [call.args[1] for call in _calls(function) if _name(call.func) in RINGERS]
        rung = {name.id for name in asked if isinstance(name, ast.Name) and name.id in constants}
        yield from (f"tasks.{function.name}>{short(constants[name])}" for name in sorted(rung))


def _acks() -> Iterator[str]:
    path = WORKER / "tasks.py"
    constants = _constants(path)
    for function in _functions(path):
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and _name(decorator.func) == "task":
                named = next(keyword.value for keyword in decorator.keywords if keyword.arg == "name")
                yield f"ack.{short(constants[named.id])}"
    yield from INTAKE


def _connector_calls() -> list[str]:
    """Return what the way asks of connectors, such as ``connector.fetch``."""
    found = {
        call.func.attr
        for path in sorted((WORKER / "pipeline").glob("*.py"))
        for function in _functions(path)
        for call in _calls(function)
        if isinstance(call.func, ast.Attribute) and _name(call.func.value) == "connector"
    }
    return [f"connector.{name}" for name in sorted(found)]


def short(task: str) -> str:
    """Return a task's name without its namespace."""
    return task.rpartition(".")[2]


def _functions(path: Path) -> Iterator[ast.FunctionDef]:
    tree = ast.parse(path.read_text(), str(path))
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _calls(function: ast.FunctionDef) -> Iterator[ast.Call]:
    """Yield the calls of a function's own body: those of functions inside it are theirs."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting += ast.iter_child_nodes(node)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _constants(path: Path) -> dict[str, str]:
    """Return the texts that a module gives names to."""
    tree = ast.parse(path.read_text(), str(path))
    return {
        node.target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
