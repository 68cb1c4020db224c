"""Audio into text in its own language."""

from app.operations.operation import Operation
from app.wire.usage import usage_of

TRANSCRIPTION = Operation(
    task="transcribe",
    path="/v1/audio/transcriptions",
    alias="/v1/speech/transcriptions",
    description="transcribe audio",
    summary="Transcribe audio",
    fields=(
        "file",
        "model",
        "prompt",
        "response_format",
        "temperature",
        "stream",
        "language",
        "languages[]",
        "keywords[]",
        "timestamp_granularities[]",
        "include[]",
        "chunking_strategy",
        "known_speaker_names[]",
        "known_speaker_references[]",
    ),
    response_formats=("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    read_usage=usage_of,
)
