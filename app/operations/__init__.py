"""The operations of the audio API as frozen values, so that an endpoint is data.

Endpoints, their documentation, reports and the request path read what they need here. A new operation is one more
value in OPERATIONS.
"""

from app.operations.operation import Operation
from app.operations.transcription import TRANSCRIPTION
from app.operations.translation import TRANSLATION
from app.policy.task import Task

OPERATIONS: dict[Task, Operation] = {operation.task: operation for operation in (TRANSCRIPTION, TRANSLATION)}

RESPONSE_FORMATS = frozenset(name for operation in OPERATIONS.values() for name in operation.response_formats)

__all__ = ["OPERATIONS", "RESPONSE_FORMATS", "TRANSCRIPTION", "TRANSLATION", "Operation"]
