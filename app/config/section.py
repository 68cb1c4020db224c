"""The base of all tables of the settings: frozen, without unknown names."""

from pydantic import BaseModel, ConfigDict


class InvalidConfig(Exception):
    """The settings are not valid. The message is one line: the file or variable, the setting, the reason."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
