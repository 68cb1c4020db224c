"""Unknown rows, and closing them with what the provider billed: from the command and over HTTP alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Protocol

from app.clock import now_ms
from app.config import Config
from app.policy.budget import NOTHING, Amounts
from app.policy.pricing import Price
from app.services.administration import AdministrationError, AdministrationFault, AuditEntry
from app.units import NanoUSD, seconds_of, to_ms, to_nano, usd_text

MAX_DOLLARS = 1_000_000
MAX_SECONDS = 366 * 86_400


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """A row that the provider may have billed; it is charged at its hold until it is resolved."""

    id: str
    caller: str
    model: str
    admitted_ms: int
    error: str | None
    charge: Amounts
    upstream_request_id: str | None


@dataclass(frozen=True, slots=True)
class Billed:
    """What the provider billed: nothing, so much audio at the model's price, or so many US dollars. Exactly one."""

    nothing: bool = False
    seconds: float | None = None
    cost_usd: str | None = None

    @property
    def one(self) -> bool:
        return [self.nothing, self.seconds is not None, self.cost_usd is not None].count(True) == 1


@dataclass(frozen=True, slots=True)
class Resolved:
    """How a row was closed: `released` or `settled`, and its charge."""

    id: str
    state: str
    charge: Amounts

    def document(self) -> dict[str, object]:
        return {"id": self.id, **_amounts(self.state, self.charge)}


class UnknownRequestRepository(Protocol):
    """Reads and closes the rows of unknown requests."""

    def rows(self) -> list[UnknownRequest]: ...
    def resolve(self, row: UnknownRequest, charge: Amounts | None, entry: AuditEntry) -> bool: ...


class Reconciliation:
    """What can be done with unknown rows, by this actor, at these prices."""

    def __init__(self, repository: UnknownRequestRepository, prices: Mapping[str, Price], actor: str) -> None:
        self._repository = repository
        self._prices = prices
        self._actor = actor

    @classmethod
    def from_config(cls, config: Config, repository: UnknownRequestRepository, actor: str) -> "Reconciliation":
        """Returns the reconciliation at the prices of the configuration."""
        return cls(repository, {model.id: model.price for model in config.models}, actor)

    def unknown(self) -> list[UnknownRequest]:
        """All of them, oldest first."""
        return self._repository.rows()

    def resolve(self, request_id: str, billed: Billed) -> Resolved:
        """Close this row; Impossible. A running gateway takes the change into its budgets within a second."""
        row = next((each for each in self._repository.rows() if each.id == request_id), None)
        if row is None:
            raise AdministrationError(AdministrationFault.MISSING, f"there is no unknown row {request_id}")
        charge = self._charge(row, billed)
        state = "released" if charge is None else "settled"
        done = Resolved(row.id, state, charge or NOTHING)
        entry = AuditEntry(
            now_ms(), self._actor, "resolve", row.id, _amounts("unknown", row.charge), _amounts(state, done.charge)
        )
        if not self._repository.resolve(row, charge, entry):
            raise AdministrationError(
                AdministrationFault.CONFLICT, f"the row {request_id} has just been resolved by somebody else"
            )
        return done

    def _charge(self, row: UnknownRequest, billed: Billed) -> Amounts | None:
        if billed.nothing:
            return None
        if billed.cost_usd is not None:
            return Amounts(_nano_usd(billed.cost_usd), row.charge.audio, row.charge.tokens)
        price = self._prices.get(row.model)
        if price is None:
            raise AdministrationError(
                AdministrationFault.CONFLICT, f"the model {row.model} is no longer in the catalogue; name the cost"
            )
        audio = to_ms(billed.seconds or 0)
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
