"""The environment: secrets by file, where logs go, where metrics are served."""

import logging
from pathlib import Path

import pytest

from worker import config
from worker.config import ConfigProblem
from worker.store.keyring import new_key


def read(tmp_path: Path, **environment: str) -> config.Settings:
    return config.read({"BOUNCE_WORKER_DATA": str(tmp_path), **environment})


def test_a_secret_may_come_by_file(tmp_path: Path):
    (tmp_path / "url").write_text("postgresql://bounce:secret@db/bounce\n")
    settings = read(tmp_path, DATABASE_URL_FILE=str(tmp_path / "url"))
    assert settings.database_url == "postgresql://bounce:secret@db/bounce"


@pytest.mark.parametrize("between", [",", "\n", ",\n", " "])
def test_keys_may_come_by_file_a_line_each(tmp_path: Path, between: str):
    (tmp_path / "keys").write_text(between.join([new_key(), new_key()]) + "\n")
    environment = {"BOUNCE_WORKER_KEYS_FILE": str(tmp_path / "keys")}
    assert len(config.key_ring(read(tmp_path), environment).keys) == 2


@pytest.mark.parametrize("name", config.SECRET)
def test_a_secret_that_comes_twice_is_refused(tmp_path: Path, name: str):
    (tmp_path / "x").write_text("x")
    with pytest.raises(ConfigProblem, match=f"{name} and {name}_FILE are both set"):
        read(tmp_path, **{name: "y", f"{name}_FILE": str(tmp_path / "x")})


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), (b"", "is empty"), (b"\xff\xfe\xfd", "no text")]
)
def test_a_file_that_holds_no_secret(tmp_path: Path, content: bytes | None, words: str):
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(ConfigProblem, match=words):
        read(tmp_path, REDIS_URL_FILE=str(tmp_path / "x"))


@pytest.mark.parametrize(
    ("text", "address"),
    [("", None), ("9464", ("127.0.0.1", 9464)), ("0.0.0.0:9464", ("0.0.0.0", 9464)), ("[::1]:1", ("::1", 1))],
)
def test_where_metrics_are_served(tmp_path: Path, text: str, address: tuple[str, int] | None):
    assert read(tmp_path, BOUNCE_WORKER_METRICS=text).metrics == address


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BOUNCE_WORKER_METRICS", "here"),
        ("BOUNCE_WORKER_METRICS", "127.0.0.1:99999"),
        ("BOUNCE_WORKER_LOG", "xml"),
        ("BOUNCE_WORKER_LOG_LEVEL", "loud"),
    ],
)
def test_what_can_not_be_right_is_said(tmp_path: Path, name: str, value: str):
    with pytest.raises(ConfigProblem, match=name):
        read(tmp_path, **{name: value})


def test_logs_are_of_info_unless_otherwise_said(tmp_path: Path):
    assert read(tmp_path).log_level == logging.INFO
    assert read(tmp_path, BOUNCE_WORKER_LOG_LEVEL="Debug").log_level == logging.DEBUG
    assert (read(tmp_path).log_as_json, read(tmp_path, BOUNCE_WORKER_LOG="text").log_as_json) == (None, False)


@pytest.mark.parametrize(("text", "days"), [("", 400), ("30", 30), ("3650", 3650), ("0", None)])
def test_for_how_long_sends_are_kept(tmp_path: Path, text: str, days: int | None):
    kept = read(tmp_path, BOUNCE_WORKER_SENDS_DAYS=text).keep_sends
    assert (kept.days if kept else None) == days


@pytest.mark.parametrize(
    ("text", "words"), [("29", "use at least 30"), ("-1", "whole days"), ("a year", "whole days"), ("3651", "3650")]
)
def test_sends_that_would_go_too_soon_or_never_are_refused(tmp_path: Path, text: str, words: str):
    with pytest.raises(ConfigProblem, match=words):
        read(tmp_path, BOUNCE_WORKER_SENDS_DAYS=text)
