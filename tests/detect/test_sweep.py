"""The project's samples, changed as mail systems change mail, say the same as before."""

from pathlib import Path

import pytest

from tests.benchmarks.sweep import CHANGES, LOCAL_PARTS, answer, compare, other_addresses

CORPUS = Path(__file__).parent.parent / "corpus"
READ = {path.stem: path.read_bytes().replace(b"\r\n", b"\n") for path in sorted(CORPUS.rglob("*.eml"))}
NOTICES = {name: (raw, answer(raw)) for name, raw in READ.items() if answer(raw)["kind"] in ("bounce", "delayed")}

# What can't be known: the prose held the reason, or the only sign of a mail system is taken away.
TELLING = {"status without text", "sender of no known name", "sender and subject unknown"}
WRAPPED = {"wrapped-by-a-gateway", "wrapped-by-a-gateway-in-its-own-name"}
LOST = {
    "re-wrapped at 60": {"aol-screen-name"},
    "status as text/plain": WRAPPED | {"wrapped-without-a-blank-line"},
    "no Return-Path": {"et-postmaster-unknown-language"},
    "no original": WRAPPED,
    "subject of no known language": {"wrapped-without-a-blank-line"},
    "addresses with = and /": {"wrapped-without-a-blank-line"},
}


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - TELLING))
def test_a_change_that_says_nothing_changes_nothing(name):
    ignored = frozenset({"message_id"} if name == "no original" else ())
    otherwise = set()
    for sample, (raw, before) in NOTICES.items():
        changed = CHANGES[name](raw)
        if changed is not None and compare(before, answer(changed), ignored):
            otherwise.add(sample)
    assert otherwise == LOST.get(name, set())


@pytest.mark.parametrize("name", sorted(LOCAL_PARTS.keys() - {"addresses of other scripts"}))
def test_recipients_may_be_called_anything(name):
    otherwise = set()
    for sample, (raw, before) in NOTICES.items():
        known = before["recipients"]
        in_sight = raw.isascii() and b"base64" not in raw.lower() and b"utf-16" not in raw.lower()
        if not in_sight or not all("@" in r and r in raw.decode().lower() for r in known):
            continue
        changed, named = other_addresses(raw, known, LOCAL_PARTS[name])
        if compare({**before, "recipients": named}, answer(changed), frozenset()):
            otherwise.add(sample)
    assert otherwise == LOST.get(name, set())
