"""The models that callers may name, with their tasks and prices. The defaults are OneRouter's list prices."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from app.config.section import Section
from app.policy.pricing import FREE, Price
from app.policy.task import Task
from app.units import NanoUSD, to_nano


def _dollars(value: object) -> object:
    """Converts a decimal number of dollars to nano-dollars."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError('must be a number of dollars, such as "0.006"')
    try:
        dollars = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError('must be a number of dollars, such as "0.006"') from error
    if not dollars.is_finite() or not 0 <= dollars <= 1_000_000:
        raise ValueError("must be between 0 and 1000000 dollars")
    return to_nano(dollars)


Dollars = Annotated[NanoUSD, BeforeValidator(_dollars)]


class PriceTable(Section):
    """`input`, `audio_input` and `output` are USD per million tokens; `per_minute` is USD per minute of audio."""

    input: Dollars | None = None
    audio_input: Dollars | None = None
    output: Dollars | None = None
    per_minute: Dollars | None = None
    max_tokens_per_minute: int = Field(2_000, ge=1)

    @model_validator(mode="after")
    def _valid_price(self) -> Self:
        if (self.input is None) != (self.output is None) or (self.audio_input is not None and self.input is None):
            raise ValueError("token prices need both input and output")
        if self.input is None and self.per_minute is None:
            raise ValueError('needs per_minute, or input and output; a model without costs has price = "free"')
        if self.per_minute == 0 or (self.input is not None and not any((self.input, self.audio_input, self.output))):
            raise ValueError('must not be 0; a model without costs has price = "free"')
        return self

    def price(self) -> Price:
        return Price(self.input, self.audio_input, self.output, self.per_minute, self.max_tokens_per_minute)


def _price(value: object) -> object:
    if isinstance(value, Price):
        return value
    if value == "free":
        return FREE
    if isinstance(value, dict):
        return PriceTable.model_validate(value).price()
    raise ValueError('must be a table such as { per_minute = "0.006" }, or "free"')


class Model(Section):
    """One model of the catalogue."""

    id: str = Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")
    tasks: tuple[Task, ...] = Field(min_length=1)
    price: Annotated[Price, BeforeValidator(_price)]
    upstream_model: str = Field("", max_length=128)

    @property
    def name_upstream(self) -> str:
        return self.upstream_model or self.id


def _model(model_id: str, price: dict[str, Any], *tasks: Task) -> Model:
    return Model.model_validate({"id": model_id, "tasks": tasks or ("transcribe",), "price": price})


_LARGE = {"input": "2.50", "output": "10.00", "per_minute": "0.006"}
_SMALL = {"input": "1.25", "output": "5.00", "per_minute": "0.003"}

DEFAULT_MODELS = (
    _model("whisper-1", {"per_minute": "0.006"}, "transcribe", "translate"),
    _model("gpt-transcribe", {"per_minute": "0.0045"}),
    _model("gpt-4o-transcribe", _LARGE),
    _model("gpt-4o-transcribe-diarize", _LARGE),
    _model("gpt-4o-mini-transcribe", _SMALL),
    _model("gpt-4o-mini-transcribe-2025-12-15", _SMALL),
)
