"""Audio into English text."""

from app.operations.operation import Operation
from app.wire.usage import usage_of

TRANSLATION = Operation(
    task="translate",
    path="/v1/audio/translations",
    alias="/v1/speech/translations",
    description="translate audio",
    summary="Translate audio into English text",
    fields=("file", "model", "prompt", "response_format", "temperature"),
    response_formats=("json", "text", "srt", "verbose_json", "vtt"),
    read_usage=usage_of,
)
