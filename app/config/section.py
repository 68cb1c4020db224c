"""What every table of the settings is: frozen, with no name in it that is not known."""

from pydantic import BaseModel, ConfigDict


class InvalidConfig(Exception):
    """The settings cannot be used. The message is one line: the file or variable, the key, the reason."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
