"""Who may use /v1 and /api/v1: holders of one of PARLEY_API_KEYS; where there are none, programs on this machine."""

from __future__ import annotations

import hashlib
import hmac

from starlette.types import Scope

from core.api.guard import foreign, headers_of
from core.api.proxies import proxied
from core.errors import AuthenticationFailed, PermissionDenied
from core.hosts import host_of, is_loopback
from core.settings import Settings
from core.visitors import LOCAL, api_state

SET_KEYS = "Set PARLEY_API_KEYS to open the API to holders of a key."


class Access:
    """Lets a request through or raises AuthenticationFailed or PermissionDenied."""

    def __init__(self, settings: Settings) -> None:
        self._enabled, self._sentence = api_state(settings)
        self._digests = [_digest(key) for key in settings["PARLEY_API_KEYS"]]
        self._shared = settings.shared

    def check(self, scope: Scope) -> str:
        """The visitor that the ledger will name: "local", or on a shared server one for each key."""
        if self._digests:
            number = self._key(dict(scope["headers"]))
            return f"api-{self._digests[number].hex()[:8]}" if self._shared else LOCAL
        if not self._enabled:
            raise PermissionDenied(self._sentence, "")
        if proxied(scope):
            raise PermissionDenied("Without a key, the API does not answer through a proxy.", SET_KEYS)
        _refuse_foreign(scope)
        return LOCAL

    def _key(self, headers: dict[bytes, bytes]) -> int:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise AuthenticationFailed(
                "There is no API key in the request.", "Send one of PARLEY_API_KEYS as Authorization: Bearer <key>."
            )
        given = hashlib.sha256(token.strip()).digest()
        # Every key is compared, and digests have one length: the time tells nothing.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        if not any(matches):
            raise AuthenticationFailed("The API key is wrong.", "Send one of PARLEY_API_KEYS.")
        return matches.index(True)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _refuse_foreign(scope: Scope) -> None:
    """Without a key a web page could spend the money on the owner's provider keys: none may ask, not even to read."""
    headers = headers_of(scope)
    if not is_loopback(host_of(headers.get(b"host", ""))):
        raise PermissionDenied("Without a key, the API answers at 127.0.0.1 and localhost only.", SET_KEYS)
    if foreign(scope, headers):
        raise PermissionDenied("Without a key, the API does not answer web pages of other sites.", SET_KEYS)
