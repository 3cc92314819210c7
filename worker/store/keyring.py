"""Keys: those that encrypt secrets at rest, and the one that makes ids unreadable.

A secret is encrypted with AES-256-GCM under the newest key; the associated data names the row that it belongs to, so
that a stolen row can't be moved to another inbox. A blob says which key made it, so keys can be rotated.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.engine import Connection

from worker.store.database import insert
from worker.store.schema import meta

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
KEY_ID_BYTES: Final = 4
DIGEST_BYTES: Final = 16
DIGEST_KEY_ROW: Final = "digest_key"


class KeyProblem(Exception):
    """A key is missing, malformed or not the one that encrypted a secret."""


def new_key() -> str:
    """Return a fresh key as text, in the form that `KeyRing.parse` reads."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


@dataclass(frozen=True, slots=True, repr=False)
class KeyRing:
    """Keys for secrets at rest, newest first."""

    keys: tuple[bytes, ...]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "KeyRing":
        """Read base64 keys of 32 bytes, newest first. Raises `KeyProblem`."""
        try:
            keys = tuple(base64.urlsafe_b64decode(text.strip()) for text in texts if text.strip())
        except binascii.Error:
            keys = ()
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise KeyProblem("BOUNCE_WORKER_KEYS must hold base64 keys of 32 bytes, separated by commas, newest first.")
        return cls(keys)

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """Encrypt `plain` so that it opens only for the same `bound_to`."""
        key, nonce = self.keys[0], os.urandom(NONCE_BYTES)
        return _key_id(key) + nonce + AESGCM(key).encrypt(nonce, plain, bound_to.encode())

    def open(self, blob: bytes, bound_to: str) -> bytes:
        """Decrypt what `seal` made. Raises `KeyProblem`."""
        key = next((key for key in self.keys if _key_id(key) == blob[:KEY_ID_BYTES]), None)
        if key is None:
            raise KeyProblem("A secret was encrypted with a key that BOUNCE_WORKER_KEYS no longer holds: add it again.")
        nonce, sealed = blob[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES], blob[KEY_ID_BYTES + NONCE_BYTES :]
        try:
            return AESGCM(key).decrypt(nonce, sealed, bound_to.encode())
        except InvalidTag:
            raise KeyProblem("A stored secret was altered or moved to another row; connect the inbox again.") from None


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"key id" + key).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True, slots=True, repr=False)
class Digester:
    """Makes keyed hashes (HMAC-SHA-256, 128 bits): without the key nobody can test a guess against them."""

    key: bytes

    def __call__(self, account: str, name: str, value: str) -> bytes:
        text = f"{account}\0{name}\0{value}".encode("utf-8", "surrogatepass")
        return hmac.new(self.key, text, hashlib.sha256).digest()[:DIGEST_BYTES]


def load_digester(connection: Connection, ring: KeyRing) -> Digester:
    """Return the deployment's digester; its key is made on first use and kept sealed in the database."""
    blob = ring.seal(secrets.token_bytes(KEY_BYTES), DIGEST_KEY_ROW)
    connection.execute(
        insert(connection, meta).values(key=DIGEST_KEY_ROW, value=blob).on_conflict_do_nothing(index_elements=["key"])
    )
    stored = connection.execute(meta.select().where(meta.c.key == DIGEST_KEY_ROW)).one()
    return Digester(ring.open(stored.value, DIGEST_KEY_ROW))


def reseal_digester(connection: Connection, ring: KeyRing) -> None:
    """Encrypt the digester's key anew with the newest key; the hashes that it makes stay what they are."""
    stored = connection.execute(meta.select().where(meta.c.key == DIGEST_KEY_ROW)).one()
    blob = ring.seal(ring.open(stored.value, DIGEST_KEY_ROW), DIGEST_KEY_ROW)
    connection.execute(meta.update().where(meta.c.key == DIGEST_KEY_ROW).values(value=blob))
