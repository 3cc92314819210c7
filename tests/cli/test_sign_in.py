"""Connecting an inbox by signing in, as an operator does it; the browser and the sign-in service are the tests' own."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.connectors.test_sign_in import microsoft_answer
from tests.fakes.tokens import FakeTokens, ok, refused
from tests.live.deployment import Deployment


@pytest.fixture
def tokens(tmp_path):
    with FakeTokens(tmp_path, lambda _: ok(access_token="a", refresh_token="refresh-1", expires_in=3600)) as fake:
        yield fake


@pytest.fixture
def cli(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


@pytest.fixture
def google(tmp_path: Path, tokens: FakeTokens) -> Path:
    file = tmp_path / "client.json"
    registered = {"client_id": "id", "client_secret": "client-s3cret", "token_uri": f"{tokens.url}/token"}
    file.write_text(json.dumps({"installed": registered}))
    return file


@pytest.fixture
def microsoft(tmp_path: Path, tokens: FakeTokens) -> Path:
    file = tmp_path / "microsoft.json"
    file.write_text(json.dumps({"tenant": "acme.example", "client_id": "id", "authority": tokens.url}))
    return file


def adding(cli: Deployment, tokens: FakeTokens, client: Path, *more: str) -> subprocess.Popen:
    words = (
        *("inbox", "add", "gina", "--account", "acme", "--address", "gina@acme.example", "--provider", "imap"),
        *("--host", "imap.acme.example", "--sign-in", "xoauth2", "--ca-file", tokens.ca_file),
        *("--client", str(client), *more),
    )
    return subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *words],
        env=cli.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def address_in(process: subprocess.Popen) -> dict[str, str]:
    """Return the query of the address that the person is told to open."""
    for line in process.stdout:
        if line.startswith("https://"):
            return {name: values[0] for name, values in parse_qs(urlsplit(line.strip()).query).items()}
    raise AssertionError("no address was printed")


def test_a_browser_on_this_machine(cli: Deployment, tokens: FakeTokens, google: Path):
    with adding(cli, tokens, google) as process:
        asked = address_in(process)
        here = asked["redirect_uri"]
        with pytest.raises(urllib.error.HTTPError):  # a browser asks for more than it is sent to
            urllib.request.urlopen(f"{here}/favicon.ico", timeout=5)
        given = urlencode({"state": asked["state"], "code": "c"})
        with urllib.request.urlopen(f"{here}?{given}", timeout=5) as page:
            assert b"You can close this page" in page.read()
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 0, said
    assert "Connected acme/gina" in said
    assert "client-s3cret" not in said
    (form,) = tokens.forms
    assert (form["code"], form["redirect_uri"]) == ("c", here)
    assert [row["name"] for row in cli.rows("inbox", "list")] == ["gina"]


def test_a_browser_elsewhere_whose_last_address_is_pasted(cli: Deployment, tokens: FakeTokens, google: Path):
    with adding(cli, tokens, google) as process:
        asked = address_in(process)
        given = urlencode({"state": asked["state"], "code": "c"})
        said = process.communicate(f"what?\n{asked['redirect_uri']}/?{given}\n", timeout=30)[0]
    assert process.returncode == 0, said
    assert "Connected acme/gina" in said


def test_a_no_connects_nothing_and_is_told_in_words(cli: Deployment, tokens: FakeTokens, google: Path):
    with adding(cli, tokens, google) as process:
        asked = address_in(process)
        given = urlencode({"state": asked["state"], "error": "access_denied"})
        said = process.communicate(f"{asked['redirect_uri']}/?{given}\n", timeout=30)[0]
    assert process.returncode == 1
    assert "didn't agree" in said
    assert cli.rows("inbox", "list") == []


def test_a_code_that_is_typed_in_elsewhere(cli: Deployment, tokens: FakeTokens, microsoft: Path):
    answers = iter([refused("authorization_pending"), refused("authorization_pending"), microsoft_answer({})])

    def reply(form):
        if "grant_type" in form:
            return next(answers)
        return ok(device_code="d", user_code="ABCD", verification_uri="https://login.test", expires_in=900, interval=0)

    tokens.reply = reply
    with adding(cli, tokens, microsoft, "--device-code") as process:
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 0, said
    assert "Open https://login.test in any browser and type the code ABCD" in said
    assert "Connected acme/gina" in said


def test_signing_in_anew_by_an_address_for_the_inboxs_user(cli: Deployment, tokens: FakeTokens, google: Path):
    with adding(cli, tokens, google) as process:
        asked = address_in(process)
        process.communicate(
            f"{asked['redirect_uri']}/?{urlencode({'state': asked['state'], 'code': 'c'})}\n", timeout=30
        )
    back = "https://bounces.acme.example/sign-in/callback"
    said = cli.command("inbox", "sign-in", "gina", "--redirect-uri", back)
    (url,) = (line for line in said.splitlines() if line.startswith("https://"))
    assert parse_qs(urlsplit(url).query)["redirect_uri"] == [back]
    assert "holds for 15 minutes" in said


def test_a_file_that_is_no_client_is_told_in_words(cli: Deployment, tokens: FakeTokens, tmp_path: Path):
    words = ("inbox", "add", "g", "-a", "acme", "--address", "g@a.example", "--provider", "gmail", "--client")
    assert "can't be read" in cli.command(*words, str(tmp_path / "missing.json"), code=2)
    (tmp_path / "key.json").write_text('{"type": "service_account"}')
    assert "--credentials" in cli.command(*words, str(tmp_path / "key.json"), code=1)


@pytest.mark.parametrize("provider", ["gmail", "office365"])
def test_an_inbox_without_any_sign_in_is_told_what_it_needs(cli: Deployment, provider):
    said = cli.command("inbox", "add", "g", "-a", "acme", "--address", "g@a.example", "--provider", provider, code=2)
    assert "--client" in said
