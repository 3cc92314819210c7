"""The dashboard and the alert rules speak of figures that are exported, and every alert is explained."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.store import gauges
from worker.telemetry import metrics

ROOT = Path(__file__).resolve().parents[1]
DASHBOARD = json.loads((ROOT / "docs/grafana-dashboard.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((ROOT / "docs/alerts.yml").read_text())["groups"] for rule in group["rules"]
]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [
    *((rule["alert"], rule["expr"]) for rule in RULES),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]
GAUGE_LABELS = {
    "inboxes": {"provider", "state"},
    "inboxes_failing": {"provider"},
    "notices": {"state"},
    "events_waiting": {"way"},
    "event_age_seconds": {"way"},
    "deliveries": {"state"},
    "webhooks": {"state"},
    "incidents_open": {"kind"},
}
COUNTERS = [each for each in vars(metrics).values() if hasattr(each, "_labelnames")]


def exported() -> dict[str, set[str]]:
    """Return every series, and its labels."""
    found = {f"{metrics.PREFIX}_{name}": GAUGE_LABELS.get(name, set()) for name in gauges.MEANING}
    found[f"{metrics.PREFIX}_database_up"] = set()
    for each in COUNTERS:
        labels = set(each._labelnames)
        if each._type == "counter":
            found[f"{each._name}_total"] = labels
        else:
            found |= {f"{each._name}_{part}": labels | {"le"} for part in ("bucket", "sum", "count")}
    return found


def named(expression: str) -> set[str]:
    return set(re.findall(r"\bbounce_worker_\w+", expression))


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_an_expression_names_what_is_exported(name: str, expression: str):
    series = exported()
    used = named(expression)
    assert used
    assert used <= series.keys()
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    labels |= {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    assert labels <= set().union(*(series[each] for each in used))
    assert expression.count("(") == expression.count(")")
    counters = {each for each in used if each.endswith(("_total", "_bucket"))}
    assert len(re.findall(r"\b(?:rate|increase)\(", expression)) >= len(counters), "a counter is read by its rate"


def test_every_figure_is_on_the_dashboard():
    shown = set().union(*(named(target["expr"]) for panel in PANELS for target in panel["targets"]))
    left_out = {"database_up", "webhooks", "notice_age_seconds", "review_age_seconds"}  # they are alerts only, or rare
    wanted = {name for name in exported() if not name.endswith(("_sum", "_count"))}
    assert wanted - shown <= {f"{metrics.PREFIX}_{name}" for name in left_out}


def test_every_alert_says_what_it_is_and_the_docs_say_what_to_do():
    text = (ROOT / "docs/operations.md").read_text()
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"].endswith(".")
        assert f"`{rule['alert']}`" in text
    explained = set(re.findall(r"`(BounceWorker\w+)`", text))
    assert explained == {rule["alert"] for rule in RULES}


def test_panels_have_ids_of_their_own_and_lie_beside_each_other():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)


def test_no_label_can_hold_a_person_or_an_account():
    labels = set().union(*exported().values())
    assert labels <= {
        *("provider", "state", "way", "kind", "outcome", "le"),
        *("type", "reason", "fault", "matched_by", "task"),
    }
