"""The bodies that the admin API takes and gives, as OpenAPI describes them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from app.services.reconciliation import MAX_SECONDS

MAX_HOURS = 24 * 36_525  # a hundred years

TIME = "ISO 8601 in UTC"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TermsBody(Body):
    """What a caller may do and spend; a part that is left out (or null) is no limit."""

    models: list[str] | None = None
    tasks: list[str] | None = None
    rpm: int | None = None
    burst: int | None = None
    concurrency: int | None = None
    budgets: list[str] | None = Field(None, examples=[["50usd/month", "600min/day"]])
    tags: dict[str, str] | None = None

    def document(self) -> dict[str, Any]:
        """The parts that were sent, null ones too."""
        return {part: value for part, value in self.model_dump().items() if part in self.model_fields_set}


class NewCaller(TermsBody):
    caller: str = Field(description="The caller's name", examples=["search-team"])
    expires_in_hours: float | None = Field(None, gt=0, le=MAX_HOURS)


class Rotation(Body):
    overlap_hours: float = Field(24, ge=0, le=MAX_HOURS)
    expires_in_hours: float | None = Field(
        None, gt=0, le=MAX_HOURS, description="Without it the new key has the lifetime of the one before"
    )
    revive: bool = Field(False, description="Also for a caller whose keys are all revoked")


class ResolutionBody(Body):
    """What the provider billed; exactly one of the three."""

    release: Literal[True] | None = Field(None, description="Nothing")
    seconds: float | None = Field(None, ge=0, le=MAX_SECONDS, description="So much audio, at the model's price")
    cost_usd: str | None = Field(None, description="So many US dollars", examples=["0.0042"])


class Terms(TypedDict, total=False):
    """The parts that are stated."""

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
    """How a budget stands, in decimal strings of its own unit."""

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
    key: str = Field(description="The new key, in this answer alone")


class CallerList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Caller]


class Revoked(BaseModel):
    revoked: list[str] = Field(description="The ids of the keys that were not revoked before")


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
    """A request that the provider may have billed; charged at its hold until it is resolved."""

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
