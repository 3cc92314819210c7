"""The list of fault points is read from the source: what is written tomorrow is on it."""

from pathlib import Path

from tests.chaos import points


def test_every_transaction_on_the_way_is_a_point():
    names = {site.name for site in points.sites()}
    assert {"poll._keep", "process._settle", "register.sweep", "webhooks._settle", "webhooks._take"} <= names
    assert {"ack.process_reports:after", "tasks.poll_inbox>process_reports:before"} <= points.wanted()
    assert {"connector.fetch:before", "webhook.call:after", "crm.deliver:after"} <= points.wanted()


def test_a_transaction_that_is_new_is_a_point(tmp_path: Path, monkeypatch):
    (tmp_path / "fresh.py").write_text(
        "def keep(engine):\n    with writing(engine) as connection:\n        pass\n"
        "    database.retried(\n        engine,\n        work,\n    )\n"
    )
    monkeypatch.setattr(points, "WORKER", tmp_path)
    first, second = points._sites(tmp_path / "fresh.py")
    assert (first.name, first.first, first.last) == ("fresh.keep#1", 2, 2)
    assert (second.name, second.first, second.last) == ("fresh.keep#2", 4, 7)


def test_what_is_left_out_exists_and_has_a_reason():
    rooms = {".".join(path.relative_to(points.WORKER).with_suffix("").parts) for path in points.WORKER.rglob("*.py")}
    planned = {"store.retry", "web.sign_in"}
    assert points.NOT_ON_THE_WAY.keys() - rooms <= planned
    assert all(points.NOT_ON_THE_WAY.values())
    assert all(points.UNREACHED.values())
    assert not any(point.partition(":")[0] in points.UNREACHED for point in points.wanted())
