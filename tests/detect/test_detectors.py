"""Each reader earns its place: without it, some sample is read differently."""

import importlib
from pathlib import Path

import pytest

from worker.detect import DETECTORS, detect

room = importlib.import_module("worker.detect")
SAMPLES = sorted((Path(__file__).parent.parent / "corpus").rglob("*.eml"))


def named(detector):
    return f"{detector.__module__.rpartition('.')[2]}.{detector.__name__}"


@pytest.mark.parametrize("left_out", DETECTORS, ids=named)
def test_a_reader_whose_removal_changes_nothing_goes(left_out, monkeypatch):
    whole = [detect(path.read_bytes()) for path in SAMPLES]
    monkeypatch.setattr(room, "DETECTORS", tuple(d for d in DETECTORS if d is not left_out))
    without = [detect(path.read_bytes()) for path in SAMPLES]
    changed = [
        p.name
        for p, a, b in zip(SAMPLES, whole, without, strict=True)
        if (a.kind, a.recipients) != (b.kind, b.recipients)
    ]
    assert changed
