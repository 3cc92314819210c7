"""Events held to their published schemas."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs

from worker.contract import json_schema


@cache
def _validator(event_type: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(json_schema(event_type), validate_formats=True)


def assert_fits(event: Mapping[str, Any]) -> None:
    """Raise jsonschema_rs.ValidationError where an event isn't what its schema says, KeyError for an unknown type."""
    _validator(event["type"]).validate(event)
