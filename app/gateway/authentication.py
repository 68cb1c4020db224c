"""Authentication: the caller's key in `Authorization`, looked up by its SHA-256.

`Bearer <key>` and the bare `<key>`, as OneRouter's own samples send it, are both valid. Whatever is wrong with a key,
the response is the same 401. Only the log states the reason.
"""

import hmac
from dataclasses import replace

from app import errors
from app.gateway.caller import Caller, Key
from app.gateway.ports import KeyStore
from app.policy.caller_policy import CallerPolicy
from app.wire import apikey
from app.wire.headers import Headers


class KeyDirectory:
    """All keys: those of the settings, in memory, and those of the store, which is read for well-formed keys only.

    `defaults` are the limits of callers whose own policy states none.
    """

    def __init__(self, configured: tuple[Key, ...], store: KeyStore, defaults: CallerPolicy) -> None:
        self._configured = {key.sha256: replace(key, policy=key.policy.over(defaults)) for key in configured}
        self._store = store
        self.defaults = defaults

    async def find(self, secret: str) -> Key | None:
        sha256 = apikey.digest(secret)
        configured = self._configured.get(sha256)
        if configured is not None or not apikey.is_well_formed(secret):
            return configured
        key = await self._store.find(sha256)
        return key if key is not None and hmac.compare_digest(key.sha256, sha256) else None


async def identify(headers: Headers, directory: KeyDirectory, now_ms: int) -> Caller:
    """Returns the caller whose key these headers carry; APIError 401 if there is no valid key."""
    key = await directory.find(secret_in(headers))
    if key is None:
        raise errors.invalid_api_key("no such key")
    if key.revoked:
        raise errors.invalid_api_key(f"the key {key.id} of {key.caller} is revoked")
    if key.expires_ms is not None and key.expires_ms <= now_ms:
        raise errors.invalid_api_key(f"the key {key.id} of {key.caller} has expired")
    return Caller(key.caller, key.id, key.policy.over(directory.defaults))


def secret_in(headers: Headers) -> str:
    """Returns the key in `Authorization`, with or without its scheme; APIError if there is none, or more than one."""
    values = headers.all(b"authorization")
    if len(values) > 1:
        raise errors.bad_request("More than one Authorization header.")
    words = [word.decode("latin-1") for word in values[0].split()] if values else []
    if len(words) == 2 and words[0].lower() == "bearer":
        return words[1]
    if len(words) == 1 and words[0].lower() != "bearer":
        return words[0]
    raise errors.invalid_api_key("no key" if not words else "no key in a form that is known")
