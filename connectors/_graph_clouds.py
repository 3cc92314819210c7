"""Microsoft's clouds: where each has its Graph and its sign-in, and what an access token for it is called.

Source: https://learn.microsoft.com/graph/deployments, for the rights https://learn.microsoft.com/graph/api/message-delta
(Mail.ReadBasic would do for that alone, but gives neither extended properties nor a message's content).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from connectors.oauth import Resource
from connectors.settings import Cloud, Office365Settings

VERSION: Final = "v1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCloud:
    """The root addresses of one cloud. Tokens of one are worth nothing in another."""

    graph: str
    sign_in: str

    @property
    def resource(self) -> Resource:
        return Resource(
            google_scope="",
            user_scope=f"{self.graph}/Mail.Read",
            application_scope=f"{self.graph}/.default",
            authority=self.sign_in,
        )


CLOUDS: Final[Mapping[Cloud, GraphCloud]] = {
    Cloud.GLOBAL: GraphCloud(graph="https://graph.microsoft.com", sign_in="https://login.microsoftonline.com"),
    Cloud.US: GraphCloud(graph="https://graph.microsoft.us", sign_in="https://login.microsoftonline.us"),
    Cloud.US_DOD: GraphCloud(graph="https://dod-graph.microsoft.us", sign_in="https://login.microsoftonline.us"),
    Cloud.CHINA: GraphCloud(graph="https://microsoftgraph.chinacloudapi.cn", sign_in="https://login.chinacloudapi.cn"),
}


def api(settings: Office365Settings) -> str:
    """Return the address of the API itself, without its version."""
    return (settings.api or CLOUDS[settings.cloud].graph).rstrip("/")
