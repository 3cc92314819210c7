"""The fake's subscriptions, from the documentation (learn.microsoft.com/graph/api/subscription-post-subscriptions).

It calls notificationUrl by plain HTTP to a port of this machine; the real one wants https.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3

LONGEST = timedelta(minutes=10_080)
NEEDED = {"changeType", "notificationUrl", "resource", "expirationDateTime"}
KNOWN = NEEDED | {"clientState", "lifecycleNotificationUrl"}

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Subscriptions:
    """Subscriptions by id. `call` posts notifications as Graph does; `host` says where notificationUrl really is."""

    alive: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    host: str | None = None
    _numbers: Any = field(default_factory=lambda: count(1))

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        name = path.removeprefix("/v1.0/subscriptions").strip("/")
        match method, name:
            case "POST", "":
                return self._make(json.loads(body))
            case "PATCH", _ if name in self.alive:
                self.alive[name] |= json.loads(body)
                return 200, {}, self._shown(name)
            case "DELETE", _ if name in self.alive:
                del self.alive[name]
                return 204, {}, b""
        return error(404, "ResourceNotFound")

    def call(self, name: str, lifecycle: str | None = None, **changes: str) -> int:
        """Notify of a new message, or of the subscription's own life; return the status of the answer."""
        made = self.alive[name]
        note = {"subscriptionId": name, "clientState": made.get("clientState"), "tenantId": "tenant-1"}
        if lifecycle:
            note |= {"lifecycleEvent": lifecycle, "subscriptionExpirationDateTime": made["expirationDateTime"]}
        else:
            note |= {"changeType": "created", "resource": made["resource"] + "/AAMk", "resourceData": {"id": "AAMk"}}
        url = made["lifecycleNotificationUrl" if lifecycle else "notificationUrl"]
        with urllib3.PoolManager() as http:
            body = json.dumps({"value": [note | changes]})
            headers = {"Content-Type": "application/json"}
            return http.request("POST", self._place(url), body=body, headers=headers).status

    def _make(self, asked: dict[str, Any]) -> Reply:
        if not NEEDED <= asked.keys() <= KNOWN or len(asked.get("clientState", "")) > 128:
            return error(400, "BadRequest")
        if not asked["notificationUrl"].startswith("https://"):
            return error(400, "BadRequest")
        end = datetime.fromisoformat(asked["expirationDateTime"])
        if not datetime.now(UTC) < end <= datetime.now(UTC) + LONGEST:
            return error(400, "InvalidRequest")
        token = "Validation: Testing client application reachability; +&%"
        with urllib3.PoolManager() as http:
            url = f"{self._place(asked['notificationUrl'])}?validationToken={quote(token)}"
            answer = http.request("POST", url, headers={"Content-Type": "text/plain"})
        kind = answer.headers.get("Content-Type", "")
        if answer.status != 200 or answer.data.decode() != token or not kind.startswith("text/plain"):
            return error(400, "ValidationError")
        name = f"subscription-{next(self._numbers)}"
        self.alive[name] = asked
        return 201, {}, self._shown(name)

    def _shown(self, name: str) -> bytes:
        return json.dumps({"id": name} | {k: v for k, v in self.alive[name].items() if k != "clientState"}).encode()

    def _place(self, url: str) -> str:
        return url if self.host is None else self.host + urlsplit(url).path


def error(status: int, code: str) -> Reply:
    return status, {}, json.dumps({"error": {"code": code, "message": "No."}}).encode()
