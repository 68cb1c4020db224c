"""The bodies of the admin API's requests and responses. Class names are the names of OpenAPI's schemas."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from app.services.reconciliation import MAX_SECONDS

MAX_HOURS = 24 * 36_525  # a hundred years

TIME = "ISO 8601 in UTC"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TermsBody(Body):
    """What a caller may use and spend. A part that is absent or null sets no limit."""

    models: list[str] | None = None
    tasks: list[str] | None = None
    rpm: int | None = None
    burst: int | None = None
    concurrency: int | None = None
    budgets: list[str] | None = Field(None, examples=[["50usd/month", "600min/day"]])
    tags: dict[str, str] | None = None

    def stated(self) -> dict[str, Any]:
        """The parts that the request states, null ones included."""
        return {part: value for part, value in self.model_dump().items() if part in self.model_fields_set}


class NewCaller(TermsBody):
    caller: str = Field(description="The caller's name", examples=["search-team"])
    expires_in_hours: float | None = Field(None, gt=0, le=MAX_HOURS)


class Rotation(Body):
    overlap_hours: float = Field(24, ge=0, le=MAX_HOURS)
    expires_in_hours: float | None = Field(
        None, gt=0, le=MAX_HOURS, description="Default: the lifetime of the previous key"
    )
    revive: bool = Field(False, description="Also if all keys of the caller are revoked")


class ResolutionBody(Body):
    """What the provider billed: exactly one of the three fields."""

    release: Literal[True] | None = Field(None, description="The provider billed nothing")
    seconds: float | None = Field(
        None, ge=0, le=MAX_SECONDS, description="The billed seconds of audio, charged at the model's price"
    )
    cost_usd: str | None = Field(None, description="The billed US dollars", examples=["0.0042"])


class Terms(TypedDict, total=False):
    """The parts of a caller's policy that set a limit."""

    models: list[str]
    tasks: list[str]
    rpm: int
    burst: int
    concurrency: int
    budgets: list[str]
    tags: dict[str, str]


class Key(BaseModel):
    id: str
    last4: str
    state: Literal["good", "expired", "revoked"]
    created_at: str = Field(description=TIME)
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class Budget(BaseModel):
    """A budget's amounts, as decimal strings in its own unit."""

    budget: str
    spent: str
    held: str
    left: str
    resets_at: str | None


class Caller(BaseModel):
    caller: str
    origin: Literal["ledger", "settings"]
    created_at: str | None = Field(description=f"{TIME}; null for a caller of the settings")
    terms: Terms
    keys: list[Key]
    budgets: list[Budget]


class CallerWithKey(Caller):
    key: str = Field(description="The new key; no other response has it")


class CallerList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Caller]


class Revoked(BaseModel):
    revoked: list[str] = Field(description="The ids of the keys that this request revoked")


class AuditItem(BaseModel):
    at: str = Field(description=TIME)
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditList(BaseModel):
    object: Literal["list"] = "list"
    data: list[AuditItem]


class Unknown(BaseModel):
    """A request that the provider may have billed. Its hold is charged until it is resolved."""

    id: str
    caller: str
    model: str
    admitted_at: str = Field(description=TIME)
    error: str | None
    held_usd: str
    held_seconds: float
    upstream_request_id: str | None


class UnknownList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Unknown]


class Resolution(BaseModel):
    id: str
    state: Literal["released", "settled"]
    cost_usd: str = "0"
    audio_seconds: float = 0
