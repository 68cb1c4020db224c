"""Reconciliation of unknown requests with what the provider billed, for commands and for the admin API."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Protocol

from app.clock import now_ms
from app.config import Config
from app.policy.budget import NOTHING, Amounts
from app.policy.pricing import Price
from app.services.administration import AdministrationError, AdministrationFault
from app.services.callers import AuditEntry
from app.units import NanoUSD, seconds_of, to_ms, to_nano, usd_text

MAX_DOLLARS = 1_000_000
MAX_SECONDS = 366 * 86_400


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """A request that the provider may have billed. It is charged at its hold until an operator resolves it."""

    id: str
    caller: str
    model: str
    admitted_ms: int
    error: str | None
    charge: Amounts
    upstream_request_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderBill:
    """What the provider billed: nothing, an audio length at the model's price, or a cost in US dollars. Exactly one."""

    nothing: bool = False
    seconds: float | None = None
    cost_usd: str | None = None

    @property
    def complete(self) -> bool:
        """Whether exactly one of the three is given."""
        return [self.nothing, self.seconds is not None, self.cost_usd is not None].count(True) == 1


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """How a request was resolved: its state, `released` or `settled`, and its charge."""

    id: str
    state: str
    charge: Amounts

    def document(self) -> dict[str, object]:
        return {"id": self.id, **_amounts(self.state, self.charge)}


class UnknownRequestRepository(Protocol):
    """Stores unknown requests, over the connection of a session."""

    def all(self) -> list[UnknownRequest]:
        """Returns all unknown requests, oldest first."""

    def resolve(self, request: UnknownRequest, charge: Amounts | None, entry: AuditEntry) -> bool:
        """Settles a request at this charge, or releases it (None). Returns False if it is no longer unknown."""


class Reconciliation:
    """Resolves unknown requests on behalf of an actor, at these prices."""

    def __init__(self, repository: UnknownRequestRepository, prices: Mapping[str, Price], actor: str) -> None:
        self._repository = repository
        self._prices = prices
        self._actor = actor

    @classmethod
    def from_config(cls, config: Config, repository: UnknownRequestRepository, actor: str) -> "Reconciliation":
        """Returns the reconciliation at the prices of the configuration."""
        return cls(repository, {model.id: model.price for model in config.models}, actor)

    def unknown(self) -> list[UnknownRequest]:
        """Returns all unknown requests, oldest first."""
        return self._repository.all()

    def resolve(self, request_id: str, bill: ProviderBill) -> ResolvedRequest:
        """Resolves a request. A running gateway updates its budgets within a second.

        Raises AdministrationError if the request is not unknown or the bill is invalid.
        """
        request = next((unknown for unknown in self._repository.all() if unknown.id == request_id), None)
        if request is None:
            raise AdministrationError(AdministrationFault.MISSING, f"there is no unknown request {request_id}")
        charge = self._charge(request, bill)
        state = "released" if charge is None else "settled"
        resolved = ResolvedRequest(request.id, state, charge or NOTHING)
        entry = AuditEntry(
            now_ms(),
            self._actor,
            "resolve",
            request.id,
            _amounts("unknown", request.charge),
            _amounts(state, resolved.charge),
        )
        if not self._repository.resolve(request, charge, entry):
            raise AdministrationError(
                AdministrationFault.CONFLICT, f"the request {request_id} was resolved by another operator just now"
            )
        return resolved

    def _charge(self, request: UnknownRequest, bill: ProviderBill) -> Amounts | None:
        if bill.nothing:
            return None
        if bill.cost_usd is not None:
            return Amounts(_nano_usd(bill.cost_usd), request.charge.audio, request.charge.tokens)
        price = self._prices.get(request.model)
        if price is None:
            raise AdministrationError(
                AdministrationFault.CONFLICT, f"the model {request.model} is no longer in the catalogue; name the cost"
            )
        audio = to_ms(bill.seconds or 0)
        return Amounts(price.of_audio(audio), audio, price.most_tokens(audio))


def _nano_usd(cost: str) -> NanoUSD:
    try:
        dollars = Decimal(cost)
    except InvalidOperation:
        dollars = Decimal("NaN")
    if not (dollars.is_finite() and 0 <= dollars <= MAX_DOLLARS):
        raise AdministrationError(
            AdministrationFault.INVALID, f"{cost[:40]!r} is no number of dollars between 0 and {MAX_DOLLARS}"
        )
    return to_nano(dollars)


def _amounts(state: str, charge: Amounts) -> dict[str, object]:
    if state == "released":
        return {"state": state}
    return {"state": state, "cost_usd": usd_text(charge.cost), "audio_seconds": seconds_of(charge.audio)}
