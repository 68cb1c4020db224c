import asyncio

import pytest

from app.errors import APIError
from app.gateway.authentication import KeyDirectory, identify
from app.gateway.caller import Caller, Key
from app.policy.caller_policy import CallerPolicy
from app.wire import apikey
from app.wire.headers import Headers

NOW = 1_000_000
GOOD = apikey.mint(bytes(range(24)))
OTHER = apikey.mint(bytes(range(1, 25)))
CONFIGURED = "team-secret"


NO_LIMITS = CallerPolicy()


class Store:
    """Keys by their SHA-256. It records what was looked up."""

    def __init__(self, *keys: Key) -> None:
        self._keys = {key.sha256: key for key in keys}
        self.asked: list[str] = []

    async def find(self, sha256: str) -> Key | None:
        self.asked.append(sha256)
        return self._keys.get(sha256)


def key(
    secret: str, *, models: frozenset[str] | None = None, expires_ms: int | None = None, revoked: bool = False
) -> Key:
    return Key("key_1", "alice", apikey.digest(secret), CallerPolicy(models=models), expires_ms, revoked)


def called(store: Store, *authorization: bytes, defaults: CallerPolicy = NO_LIMITS) -> Caller:
    headers = Headers([(b"Authorization", value) for value in authorization])
    directory = KeyDirectory((Key("config:bob", "bob", apikey.digest(CONFIGURED)),), store, defaults)
    return asyncio.run(identify(headers, directory, NOW))


def refused(store: Store, *authorization: bytes) -> APIError:
    with pytest.raises(APIError) as caught:
        called(store, *authorization)
    return caught.value


@pytest.mark.parametrize("dress", ["Bearer {}", "bearer {}", "BEARER  {} ", "{}", " {}"])
@pytest.mark.parametrize(("secret", "name"), [(GOOD, "alice"), (CONFIGURED, "bob")])
def test_a_valid_key_in_every_accepted_form(dress: str, secret: str, name: str) -> None:
    assert called(Store(key(GOOD)), dress.format(secret).encode()).name == name


def test_a_caller_has_the_models_of_the_key() -> None:
    caller = called(Store(key(GOOD, models=frozenset({"whisper-1"}))), GOOD.encode())
    assert caller == Caller("alice", "key_1", CallerPolicy(models=frozenset({"whisper-1"})))
    assert caller.may_use("whisper-1")
    assert not caller.may_use("gpt-transcribe")


def test_a_policy_without_limits_has_the_defaults() -> None:
    defaults = CallerPolicy(rpm=60, burst=5, concurrency=8)
    assert called(Store(key(GOOD)), GOOD.encode(), defaults=defaults).policy == defaults
    own = Key("key_1", "alice", apikey.digest(GOOD), CallerPolicy(rpm=7))
    assert called(Store(own), GOOD.encode(), defaults=defaults).policy == CallerPolicy(rpm=7, concurrency=8)


def test_a_key_without_a_list_may_use_every_model() -> None:
    assert called(Store(key(GOOD)), GOOD.encode()).may_use("anything")


def test_a_key_whose_list_is_empty_may_use_none() -> None:
    assert not called(Store(key(GOOD, models=frozenset())), GOOD.encode()).may_use("whisper-1")


BAD: dict[str, tuple[bytes, ...]] = {
    "none": (),
    "empty": (b"",),
    "blank": (b"  ",),
    "scheme alone": (b"Bearer",),
    "scheme and a blank": (b"Bearer ",),
    "another scheme": (b"Basic " + GOOD.encode(),),
    "two keys": (b"Bearer " + GOOD.encode() + b" " + GOOD.encode(),),
    "unknown": (b"Bearer " + OTHER.encode(),),
    "malformed": (b"Bearer sk-agw-x",),
    "the provider's": (b"Bearer sk-1234",),
    "not ASCII": (b"Bearer \xff\xfe",),
    "another case": (b"Bearer " + GOOD.swapcase().encode(),),
}


@pytest.mark.parametrize("authorization", BAD.values(), ids=BAD.keys())
def test_every_invalid_key_gets_the_same_error(authorization: tuple[bytes, ...]) -> None:
    error = refused(Store(key(GOOD)), *authorization)
    assert (error.status, error.code) == (401, "invalid_api_key")
    assert error.envelope() == refused(Store()).envelope()
    assert (b"www-authenticate", b"Bearer") in error.all_headers()


@pytest.mark.parametrize("stored", [key(GOOD, revoked=True), key(GOOD, expires_ms=NOW), key(GOOD, expires_ms=1)])
def test_a_revoked_or_expired_key_gets_the_error_of_an_unknown_one(stored: Key) -> None:
    error = refused(Store(stored), GOOD.encode())
    assert error.status == 401
    assert error.envelope() == refused(Store(), OTHER.encode()).envelope()


def test_a_key_is_valid_until_it_expires() -> None:
    assert called(Store(key(GOOD, expires_ms=NOW + 1)), GOOD.encode()).name == "alice"


def test_two_authorization_headers_are_a_bad_request() -> None:
    error = refused(Store(key(GOOD)), GOOD.encode(), GOOD.encode())
    assert (error.status, error.code) == (400, "bad_request")


@pytest.mark.parametrize("secret", [GOOD[:-1] + "!", "sk-agw-" + "0" * 38, CONFIGURED, "x"])
def test_malformed_keys_are_not_looked_up_in_the_store(secret: str) -> None:
    store = Store(key(GOOD))
    directory = KeyDirectory((key(CONFIGURED),), store, NO_LIMITS)
    asyncio.run(directory.find(secret))
    assert store.asked == []


def test_the_store_gets_only_the_hash() -> None:
    store = Store(key(GOOD))
    called(store, GOOD.encode())
    assert store.asked == [apikey.digest(GOOD)]


class WrongStore:
    """Returns another key than the one that was looked up."""

    async def find(self, sha256: str) -> Key | None:
        return key(OTHER)


def test_the_hash_of_a_stored_key_is_compared_again() -> None:
    assert asyncio.run(KeyDirectory((), WrongStore(), NO_LIMITS).find(GOOD)) is None


def test_the_key_itself_is_in_no_repr() -> None:
    assert GOOD not in repr(key(GOOD))
    assert GOOD not in repr(called(Store(key(GOOD)), GOOD.encode()))
