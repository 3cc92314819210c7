import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.detect import held, plain
from worker.phrases import Phrases, Wordings


def test_all_phrases_are_found_wherever_they_stand_and_overlap():
    phrases = Phrases(["mailbox full", "box", "full", "quota"])
    assert phrases.places("the mailbox full of letters") == [1, 0, 2]
    assert phrases.within("over quota")
    assert not phrases.within("nothing")
    assert not Phrases([]).within("nothing")


def test_phrases_in_other_scripts_and_among_lone_surrogates():
    assert Phrases(["退信", "не доставл"]).places("\ud800 系统退信 не доставлено") == [0, 1]


@given(st.lists(st.text("ab ", min_size=1, max_size=4), max_size=8), st.text("ab c", max_size=30))
def test_phrases_agree_with_a_plain_search(phrases, text):
    assert set(Phrases(phrases).places(text)) == {place for place, phrase in enumerate(phrases) if phrase in text}


@given(st.lists(st.text("ab ", min_size=2, max_size=4), max_size=8), st.text("ab c", max_size=8))
def test_the_longest_phrase_at_the_beginning_is_found(phrases, text):
    wanted = max(filter(text.startswith, phrases), key=len, default=None)
    assert Phrases(phrases).beginning(text) == wanted
    assert wanted is None or Phrases(phrases).may_begin(text)


def test_wordings_are_found_without_case_where_a_word_begins():
    wordings = Wordings(r"held|put on hold")
    assert wordings.within("It was HELD back")
    assert wordings.within("“held”")
    assert not wordings.within("shield, upheld")


@pytest.mark.parametrize("wordings", [held.HELD, held.CHALLENGE, plain.DELAYED], ids=["held", "challenge", "delayed"])
@settings(max_examples=300)
@given(data=st.data())
def test_no_wording_matches_without_one_of_the_words_that_it_needs(wordings, data):
    text = data.draw(st.from_regex(wordings._pattern, alphabet=st.characters(codec="ascii")))
    assert wordings._needs.within(text.lower())
