"""The page on which the API is tried: all that it loads comes from this process, so that no key goes elsewhere."""

import re

from fastapi.testclient import TestClient

from tests.fakes.world import World
from tests.web.api import make_client


def test_the_page_loads_nothing_from_elsewhere(world: World):
    client: TestClient = make_client(world)
    page = client.get("/docs")
    assert page.status_code == 200
    assert "/v1/openapi.json" in page.text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) >= 2
    for address in loaded:
        assert address.startswith("/"), address
        assert client.get(address).status_code == 200, address
    described = client.get("/v1/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert {tag for path in described["paths"].values() for each in path.values() for tag in each["tags"]} == {
        *("sends", "inboxes", "bounces", "review", "incidents", "events", "webhooks", "health"),
    }
