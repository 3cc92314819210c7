"""Which certificates a connection trusts."""

import ssl
from functools import lru_cache
from pathlib import Path

from connectors.errors import Misconfigured


def tls_context(ca_file: str | None, *, public_too: bool = False) -> ssl.SSLContext:
    """Return a context that trusts the authority in `ca_file`, or without one the public authorities, or both.

    Raises `Misconfigured` where the file can't be used.
    """
    try:
        return _context(ca_file, Path(ca_file).stat().st_mtime_ns if ca_file else 0, public_too=public_too)
    except OSError as error:  # ssl.SSLError too: a file without a certificate
        reason = error.strerror or "no certificate in it"
        raise Misconfigured(f"The ca_file {ca_file} can't be used ({reason}): name a readable PEM file.") from error


@lru_cache(maxsize=16)
def _context(ca_file: str | None, _written_at: int, *, public_too: bool) -> ssl.SSLContext:
    """Share one context among all inboxes of a kind: each costs most of a megabyte. A new file makes a new one."""
    context = ssl.create_default_context(cafile=ca_file)
    if ca_file and public_too:
        context.load_default_certs()
    return context
