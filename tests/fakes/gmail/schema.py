"""The Gmail API's discovery document, which google-api-python-client ships: is a request or an answer as it says?"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

Mask = dict[str, "Mask"]
_NAME = re.compile(r"[A-Za-z]+")


@lru_cache
def document() -> dict[str, Any]:
    path = files("googleapiclient") / "discovery_cache" / "documents" / "gmail.v1.json"
    return json.loads(path.read_text(encoding="utf-8"))


@lru_cache
def methods() -> dict[str, dict[str, Any]]:
    """Return the methods that are about users, by their ids."""

    def walk(resource: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        yield from resource.get("methods", {}).values()
        for below in resource.get("resources", {}).values():
            yield from walk(below)

    return {each["id"]: each for each in walk(document()["resources"]["users"])}


def method_of(verb: str, path: str) -> tuple[str, dict[str, str]] | None:
    """Return the id of the method that a request calls, and the parameters in its path."""
    for name, method in methods().items():
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", method["flatPath"])
        if method["httpMethod"] == verb and (found := re.fullmatch(pattern, path.lstrip("/"))):
            return name, found.groupdict()
    return None


def request_problems(name: str, query: list[tuple[str, str]]) -> Iterator[str]:
    """Yield what is wrong with a request's parameters."""
    method = methods()[name]
    known = {**document()["parameters"], **method["parameters"]}
    for key, value in query:
        if key not in known:
            yield f"{name} has no parameter {key}"
            continue
        if not _fits(value, known[key]):
            yield f"{name}: {key} can't be {value!r}"
        if key == "fields":
            yield from mask_problems(parse_mask(value), method["response"]["$ref"])
    for key in {key for key, _ in query}:
        if key in known and not known[key].get("repeated") and [each for each, _ in query].count(key) > 1:
            yield f"{name}: {key} is given twice"


def mask_problems(mask: Mask, schema: str) -> Iterator[str]:
    properties = document()["schemas"][schema]["properties"]
    for key, below in mask.items():
        if key not in properties:
            yield f"{schema} has no field {key}"
            continue
        inner = properties[key].get("$ref") or properties[key].get("items", {}).get("$ref")
        if below and inner is None:
            yield f"{schema}.{key} has no fields"
        elif below:
            yield from mask_problems(below, inner)


def answer_problems(name: str, answer: Any) -> Iterator[str]:
    """Yield what is wrong with an answer."""
    yield from _value_problems(answer, methods()[name]["response"], name)


def _value_problems(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if "$ref" in schema:
        schema = document()["schemas"][schema["$ref"]]
    kinds = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "number": (int, float)}
    if not isinstance(value, kinds[schema["type"]]):
        yield f"{where} is {type(value).__name__} and not {schema['type']}"
    elif schema["type"] == "array":
        for item in value:
            yield from _value_problems(item, schema["items"], f"{where}[]")
    elif schema["type"] == "object":
        for key, each in value.items():
            if key not in schema.get("properties", {}):
                yield f"{where} has no field {key}"
            else:
                yield from _value_problems(each, schema["properties"][key], f"{where}.{key}")
    elif not _fits(str(value), schema):
        yield f"{where} can't be {value!r}"


def _fits(value: str, schema: Mapping[str, Any]) -> bool:
    if "enum" in schema and schema["type"] == "string":
        return value in schema["enum"]
    bits = {"int32": (-(2**31), 2**31), "uint32": (0, 2**32), "int64": (-(2**63), 2**63), "uint64": (0, 2**64)}
    if schema.get("format") in bits:
        low, high = bits[schema["format"]]
        return re.fullmatch(r"-?\d+", value) is not None and low <= int(value) < high
    if schema["type"] == "boolean":
        return value in ("true", "false", "True", "False")
    if schema["type"] == "integer":
        return value.isdigit()
    return True


def parse_mask(text: str) -> Mask:
    """Read a mask of fields: ``a,b(c,d)``."""
    mask, rest = _mask(text)
    if rest:
        raise ValueError(f"what is {rest!r} in the mask {text!r}?")
    return mask


def _mask(text: str) -> tuple[Mask, str]:
    mask: Mask = {}
    while True:
        found = _NAME.match(text)
        if found is None:
            raise ValueError(f"no field at {text!r}")
        below: Mask = {}
        text = text[found.end() :]
        if text.startswith("("):
            below, text = _mask(text[1:])
            if not text.startswith(")"):
                raise ValueError(f"no end at {text!r}")
            text = text[1:]
        mask[found[0]] = below
        if not text.startswith(","):
            return mask, text
        text = text[1:]


def masked(value: Any, mask: Mask) -> Any:
    """Return what a mask leaves of an answer."""
    if not mask:
        return value
    if isinstance(value, list):
        return [masked(each, mask) for each in value]
    return {key: masked(value[key], below) for key, below in mask.items() if key in value}
