"""Who may reach what: the command line anything, a tenant what the operator allows."""

import os
from datetime import timedelta

import pytest

from connectors import ImapSettings, Misconfigured, Unavailable
from worker import admin, config
from worker.schedule import Limits
from worker.wiring import lazy_context, make_context


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


def test_a_process_that_forked_opens_the_database_for_itself(tmp_path):
    made = lazy_context(config.read({"BOUNCE_WORKER_DATA": str(tmp_path)}))
    ours = made()
    child = os.fork()
    if child == 0:
        os._exit(0 if made().engine is not ours.engine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert made() is ours


@pytest.mark.parametrize("text", ["host", "host=0", "host=x", "planet=3", "host=-1"])
def test_a_limit_that_is_none_is_said(text: str):
    with pytest.raises(config.ConfigProblem, match="BOUNCE_WORKER_LIMITS"):
        config.read({"BOUNCE_WORKER_LIMITS": text})


def test_limits_that_are_not_named_keep_their_defaults():
    settings = config.read({"BOUNCE_WORKER_LIMITS": "host=7, total=90", "BOUNCE_WORKER_POLL_SECONDS": "3600"})
    assert settings.limits == Limits(host=7, total=90)
    assert settings.poll_longest == timedelta(hours=1), "never shorter than the shortest"
