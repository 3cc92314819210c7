import re

import pytest

from worker.classify.advice import LANGUAGES, advise, load_advice
from worker.domain import BounceType, Fault, Reason


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_verdict_has_advice_in_every_language(language):
    advice = load_advice(language)
    assert set(advice) == set(load_advice("en"))
    for reason in Reason:
        for fault in Fault:
            said = advise(advice, BounceType.HARD, reason, fault)
            assert said.endswith(".")
            assert "IP" not in re.findall(r"\w+", said), "an inbox sends from its provider's addresses, not its own"


def test_what_is_still_being_tried_asks_for_nothing():
    assert "Nothing to do" in advise(load_advice("en"), "pending", "temporary", "network")


def test_the_senders_fault_is_told_as_such():
    advice = load_advice("en")
    assert "DKIM" in advise(advice, "hard", "policy", "sender")
    assert "DMARC" in advise(advice, "soft", "sender_not_authorised", "sender")


def test_a_language_that_is_not_ours():
    with pytest.raises(ValueError, match="en, it, nb, pl"):
        load_advice("xx")
