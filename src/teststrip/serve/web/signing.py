"""Signed words: session cookies and links to pictures that need no key."""

import base64
import hashlib
import hmac
import time


class Signer:
    """Signs with the secret that all web processes share; `purpose` keeps uses apart."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, purpose: str, text: str, ttl_s: float) -> str:
        """`<when it ends, seconds since 1970>.<MAC>` for this text."""
        until = int(time.time() + ttl_s)
        return f"{until}.{self._mac(purpose, text, until)}"

    def check(self, purpose: str, text: str, signature: str) -> bool:
        """Was it signed by us for this purpose, and is its time not over?"""
        until, _, mac = signature.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) <= 12):
            return False
        right = self._mac(purpose, text, int(until))
        return hmac.compare_digest(right.encode(), mac.encode()) and time.time() < int(until)

    def _mac(self, purpose: str, text: str, until: int) -> str:
        said = f"{purpose}\0{until}\0{text}".encode()
        digest = hmac.new(self._secret, said, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:24]).decode()
