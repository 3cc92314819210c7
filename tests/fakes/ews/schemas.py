"""Validation of SOAP with the schemas of EWS, where they are at hand: they are not ours to keep in the repository."""

import os
from functools import cache
from pathlib import Path

from lxml import etree

SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"


def folder() -> Path | None:
    """Return the folder with the schemas: EWS_SCHEMAS, or beside the repository."""
    named = os.environ.get("EWS_SCHEMAS")
    path = Path(named) if named else Path(__file__).parents[4] / "shared" / "contracts" / "ews"
    return path if (path / "messages.xsd").exists() else None


@cache
def _schema() -> etree.XMLSchema | None:
    path = folder()
    return etree.XMLSchema(etree.parse(path / "messages.xsd")) if path else None


def problems(envelope: bytes) -> list[str]:
    """Return what is wrong with a request or an answer; nothing where there are no schemas."""
    schema = _schema()
    if schema is None:
        return []
    root = etree.fromstring(envelope)
    parts = [*root.iterfind(f"{SOAP}Header/*"), *root.iterfind(f"{SOAP}Body/*")]
    found = []
    for part in parts:
        if part.tag != f"{SOAP}Fault" and not schema.validate(part):
            found += [f"{part.tag}: {error.message}" for error in schema.error_log]
    return found
