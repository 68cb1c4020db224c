"""`GET /v1/models` and `/v1/models/{id}`: the models that the caller may use, in OpenAI's format.

Source: https://platform.openai.com/docs/api-reference/models
"""

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from app import errors
from app.api.authentication import Identify
from app.config import Model
from app.gateway.caller import Caller
from app.policy.task import Task


class ModelObject(BaseModel):
    """One model. `tasks` is not in OpenAI's format: it lists what the model can do."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str
    tasks: tuple[Task, ...]


class ModelList(BaseModel):
    object: str = "list"
    data: list[ModelObject]


def models_router(models: tuple[Model, ...], owner: str, identify: Identify) -> APIRouter:
    router = APIRouter(tags=["models"])

    def allowed(caller: Caller) -> list[ModelObject]:
        return [
            ModelObject(id=model.id, owned_by=owner, tasks=model.tasks) for model in models if caller.may_use(model.id)
        ]

    @router.get("/v1/models", summary="List the models that your key may use")
    async def list_models(caller: Annotated[Caller, Depends(identify)]) -> ModelList:
        return ModelList(data=allowed(caller))

    @router.get("/v1/models/{model_id:path}", summary="One model that your key may use")
    async def get_model(model_id: str, caller: Annotated[Caller, Depends(identify)]) -> ModelObject:
        name = unquote(model_id)
        if not name:
            raise errors.unknown_url("GET", "/v1/models/", "Did you mean /v1/models? The path ends in a slash.")
        found = next((model for model in allowed(caller) if model.id == name), None)
        if found is None:
            raise errors.model_not_found(name, [model.id for model in allowed(caller)])
        return found

    return router
