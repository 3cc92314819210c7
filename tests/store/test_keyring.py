import pytest

from worker.store.keyring import Digester, KeyProblem, KeyRing, new_key


def test_what_was_sealed_opens_only_for_the_row_it_was_sealed_for():
    ring = KeyRing.parse([new_key()])
    blob = ring.seal(b"secret", "inbox-1")
    assert b"secret" not in blob
    assert ring.open(blob, "inbox-1") == b"secret"
    with pytest.raises(KeyProblem, match="moved to another row"):
        ring.open(blob, "inbox-2")


def test_an_older_key_still_opens_and_a_lost_one_is_told():
    old, new = new_key(), new_key()
    blob = KeyRing.parse([old]).seal(b"secret", "i")
    assert KeyRing.parse([new, old]).open(blob, "i") == b"secret"
    with pytest.raises(KeyProblem, match="no longer holds"):
        KeyRing.parse([new]).open(blob, "i")


@pytest.mark.parametrize("texts", [[], [""], ["short"], ["!!"], ["YWJj"]])
def test_keys_that_are_none_are_refused(texts):
    with pytest.raises(KeyProblem, match="base64"):
        KeyRing.parse(texts)


def test_keys_do_not_show_in_logs():
    text = new_key()
    assert text not in repr(KeyRing.parse([text]))
    assert "secret" not in repr(Digester(b"secret"))


def test_hashes_are_keyed_and_apart_by_account():
    one, other = Digester(b"1" * 32), Digester(b"2" * 32)
    assert one("a", "message_id", "x") == one("a", "message_id", "x")
    assert len({one("a", "message_id", "x"), one("b", "message_id", "x"), other("a", "message_id", "x")}) == 3
