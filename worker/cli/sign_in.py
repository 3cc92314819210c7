"""Signing in from the command line: by this machine's browser, or by a code that is typed in elsewhere."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.cli.shared import USAGE, err, fail, out

if TYPE_CHECKING:
    from connectors import Settings
    from connectors.oauth import Resource


def read_client(file: Path) -> Mapping[str, Any]:
    """Read the operator's registration with Google or Microsoft."""
    from connectors import sign_in

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} can't be read: {getattr(error, 'strerror', None) or 'it is not text'}.", USAGE)
    return sign_in.read_client(text)


def sign_in(settings: "Settings", address: str, client: Mapping[str, Any], *, device_code: bool) -> str:
    """Have a person sign in now; return the grant. Raises `ConnectorError`."""
    from connectors import sign_in as flows

    ca_file = getattr(settings, "ca_file", None)
    resource = flows.resource_of(settings)
    if device_code:
        return _by_code(client, resource, ca_file)
    return _by_browser(client, resource, address, ca_file)


def _by_browser(client: Mapping[str, Any], resource: "Resource", address: str, ca_file: str | None) -> str:
    from connectors import sign_in as flows
    from connectors.network import dial
    from worker.cli.loopback import Loopback

    # Google knows this machine by its number, Microsoft by its name.
    with Loopback("localhost" if client["type"] == "microsoft" else "127.0.0.1") as here:
        begun = flows.begin(client, resource, here.redirect_uri, address, dial, ca_file=ca_file)
        out.print(f"Open this address in a browser on this machine, and sign in as {address}:", markup=False)
        out.print(begun.url, markup=False, soft_wrap=True)
        err.print("Is the browser elsewhere? Then paste here the address of the page that it can't open at the end.")
        answer = here.answer(flows.TIME_TO_SIGN_IN.total_seconds())
    if answer is None:
        fail("Nobody signed in in time: begin again.")
    return flows.finish(begun.flow, answer, dial, ca_file=ca_file)


def _by_code(client: Mapping[str, Any], resource: "Resource", ca_file: str | None) -> str:
    from connectors import sign_in as flows
    from connectors.network import dial

    begun = flows.begin_device(client, resource, dial, ca_file=ca_file)
    out.print(f"Open {begun.url} in any browser and type the code {begun.code}. Waiting…", markup=False)
    end = time.monotonic() + flows.TIME_TO_SIGN_IN.total_seconds()
    grant = None
    while grant is None:
        if time.monotonic() > end:
            fail("Nobody typed the code in time: begin again.")
        time.sleep(begun.interval)  # the issuer names the pace (RFC 8628, 3.2)
        grant = flows.finish_device(begun.flow, dial, ca_file=ca_file)
    return grant
