"""docs/event-schemas says what is sent. That each event of the pipeline's tests fits is seen in their conftest."""

import json

import jsonschema_rs
import pytest

from tests.event_schemas import FOLDER, files
from tests.fakes.events import assert_fits
from worker.contract import EVENTS


def test_the_pages_are_up_to_date():
    stand = {path: path.read_text() for path in FOLDER.iterdir()}
    assert stand == files(), "run: python -m tests.event_schemas"


@pytest.mark.parametrize("name", EVENTS)
def test_each_is_a_schema_that_a_later_version_may_add_fields_to(name: str):
    schema = json.loads((FOLDER / f"{name}.json").read_text())
    jsonschema_rs.meta.validate(schema)
    assert schema["$id"] == f"urn:bounce-worker:v1:{name}"
    assert {"schema", "id", "type", "account"} <= set(schema["required"])
    assert '"additionalProperties": false' not in json.dumps(schema)


def test_what_does_not_fit_is_found():
    assert_fits({"schema": 1, "id": "e", "type": "test", "account": "acme", "at": "2026-11-22T12:00:00Z"})
    with pytest.raises(jsonschema_rs.ValidationError, match="account"):
        assert_fits({"schema": 1, "id": "e", "type": "test"})
