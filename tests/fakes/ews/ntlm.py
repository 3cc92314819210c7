"""NTLM at the fake's door: the accepting side of pyspnego checks what a client answers to its challenge."""

import base64
import hashlib
from contextlib import suppress
from pathlib import Path

import spnego
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import SpnegoError


class NtlmGate:
    """Knows one user. `scheme` is the name under which it offers NTLM; `certificate` (DER) is what binds the answers.

    The password lies in a file that NTLM_USER_FILE must name: that is where pyspnego looks.
    """

    def __init__(self, scheme: str = "NTLM", certificate: bytes | None = None) -> None:
        self.scheme = scheme
        self.handshakes = 0
        self._binding = None
        if certificate is not None:
            digest = hashlib.sha256(certificate).digest()
            self._binding = GssChannelBindings(application_data=b"tls-server-end-point:" + digest)

    @staticmethod
    def user_file(folder: Path, domain: str, user: str, password: str) -> str:
        path = folder / "ntlm-users"
        path.write_text(f"{domain}:{user}:{password}\n")
        return str(path)

    def __call__(self, handler, given: str) -> bool:
        if getattr(handler, "ntlm_done", False):
            return True
        scheme, _, token = given.partition(" ")
        if scheme != self.scheme or not token:
            handler.refuse((self.scheme,))
            return False
        context = getattr(handler, "ntlm", None)
        if context is None:
            options = spnego.NegotiateOptions.use_ntlm
            context = spnego.server(protocol="ntlm", options=options, channel_bindings=self._binding)
        handler.ntlm = None
        answer = None
        with suppress(SpnegoError):
            answer = context.step(base64.b64decode(token))
            if context.complete:
                handler.ntlm_done = True
                self.handshakes += 1
                return True
        handler.ntlm = context if answer else None
        handler.refuse((f"{self.scheme} {base64.b64encode(answer).decode()}" if answer else self.scheme,))
        return False
