"""API keys: a key names itself and proves itself, and only a digest of the proof is kept. Pure but for chance."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

PATTERN: Final = re.compile(r"bw_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
"""Recognisable, so that scanners for leaked secrets find it."""


class Scope(StrEnum):
    """What a key may do in its account."""

    SEND = "send"  # register sends
    READ = "read"  # timelines, bounces, events, inboxes, email status
    MANAGE = "manage"  # inboxes, webhooks, review, un-bounces
    OPERATE = "operate"  # what touches other accounts: the operator's own


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is kept. A key of no account is the operator's: it names the account with each request."""

    id: str
    account: str | None
    name: str
    digest: bytes
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def holds(self, secret: str, now: datetime) -> bool:
        """Whether `secret` proves this key, and the key still counts."""
        return hmac.compare_digest(self.digest, digest(secret)) and self.state(now) == "active"

    def state(self, now: datetime) -> str:
        """Return active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def make() -> tuple[str, str]:
    """Return a new key's id and secret; 256 bits of chance need no slow digest."""
    return secrets.token_hex(8), secrets.token_urlsafe(32)


def written(key_id: str, secret: str) -> str:
    """Return a key as people copy it."""
    return f"bw_{key_id}_{secret}"


def read(text: str) -> tuple[str, str] | None:
    """Return the id and the secret of a key, or None where it is none."""
    found = PATTERN.fullmatch(text.strip())
    return (found[1], found[2]) if found else None


def digest(secret: str) -> bytes:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()
