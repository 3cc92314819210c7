"""Who may reach what: the command line anything, a tenant what the operator allows."""

from datetime import timedelta

import pytest

from connectors import ImapSettings, Misconfigured, Unavailable
from worker import admin, config
from worker.wiring import make_context


def context(tmp_path, **environment: str):
    return make_context(config.read({"BOUNCE_WORKER_DATA": str(tmp_path), **environment}))


def first_poll(made, *, trusted: bool) -> None:
    request = admin.InboxRequest(
        account="acme",
        name="alice",
        address="alice@acme.example",
        settings=ImapSettings(host="127.0.0.1", port=1, username="alice"),
        secret="secret",
        trusted=trusted,
    )
    inbox = admin.add_inbox(made, request)
    made.connect(inbox).poll(made.now() - timedelta(days=1))


def test_a_tenants_host_stays_out_of_the_operators_network(tmp_path):
    with pytest.raises(Misconfigured, match="inside the operator's network"):
        first_poll(context(tmp_path), trusted=False)


def test_the_operator_may_open_it(tmp_path):
    with pytest.raises(Unavailable, match="refuses connections"):
        first_poll(context(tmp_path, BOUNCE_WORKER_ALLOW_HOSTS="127.0.0.0/8"), trusted=False)


def test_the_command_line_is_the_operators_own(tmp_path):
    with pytest.raises(Unavailable, match="refuses connections"):
        first_poll(context(tmp_path), trusted=True)


def test_an_allow_list_that_is_none_is_said(tmp_path):
    with pytest.raises(config.ConfigProblem, match="BOUNCE_WORKER_ALLOW_HOSTS"):
        context(tmp_path, BOUNCE_WORKER_ALLOW_HOSTS="10.0.0.0/99")
