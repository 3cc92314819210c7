"""Conversations that the schemas of EWS have validated, held again without them."""

import pytest
from lxml import etree

from tests.connectors.ews_stories import FOLDER, STORIES, record, replay
from tests.fakes.ews import schemas


@pytest.mark.parametrize("name", STORIES)
def test_what_is_asked_and_understood_is_what_was_recorded(name):
    noted, expected = replay(name)
    assert noted == expected


@pytest.mark.parametrize("name", STORIES)
def test_the_fake_still_answers_as_recorded(name):
    assert record(name).decode() == (FOLDER / f"{name}.xml").read_text(encoding="utf-8")


@pytest.mark.skipif(schemas.folder() is None, reason="the schemas of EWS aren't at hand")
def test_the_schemas_would_find_a_mistake():
    root = etree.fromstring((FOLDER / "trouble.xml").read_bytes())
    envelope = root.find("exchange")[0]
    assert schemas.problems(etree.tostring(envelope)) == []
    shape = next(envelope.iter("{http://schemas.microsoft.com/exchange/services/2006/types}BaseShape"))
    shape.text = "IdsOnly"
    assert schemas.problems(etree.tostring(envelope)) != []


def test_every_operation_is_recorded():
    operations = set()
    for name in STORIES:
        root = etree.fromstring((FOLDER / f"{name}.xml").read_bytes())
        operations.update(each.get("operation") for each in root.iterfind("exchange"))
    assert operations == {"GetFolder", "FindFolder", "SyncFolderItems", "FindItem", "GetItem"}
