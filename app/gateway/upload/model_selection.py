"""Which model of the catalogue a request names, and whether the caller may use it for this operation."""

from collections.abc import Mapping

from app import errors
from app.config import Model
from app.errors import APIError
from app.gateway.caller import Caller
from app.operations import Operation

MAX_MODEL_BYTES = 256


def select_model(value: bytes, operation: Operation, caller: Caller, models: Mapping[str, Model]) -> Model:
    """Returns the model that the field `model` names; APIError if it is unknown, forbidden, or lacks the task."""
    if not value.strip():
        raise errors.missing_parameter("model")
    if len(value) > MAX_MODEL_BYTES:
        raise errors.invalid_field("model", f"is longer than {MAX_MODEL_BYTES} bytes")
    name = value.decode()
    model = models.get(name)
    if model is not None and operation.task in model.tasks and caller.may_use(name):
        return model
    raise _model_error(name, operation, caller, models)


def _model_error(name: str, operation: Operation, caller: Caller, models: Mapping[str, Model]) -> APIError:
    allowed = [model_id for model_id in models if caller.may_use(model_id)]
    if name not in models:
        return errors.model_not_found(name, allowed)
    if name in allowed:
        able = [model_id for model_id in allowed if operation.task in models[model_id].tasks]
        error = errors.unsupported_model(name, operation.description, able)
    else:
        error = errors.model_not_allowed(name, allowed)
    error.model = name
    return error
