"""The embedded speech engine: an OpenAI-compatible upstream of its own, and the demo that puts the gateway before it.

For trying the gateway out and for its tests, not for real transcripts: plain English, clearly spoken, no punctuation,
and a small vocabulary of errors. It needs the extra `offline` and imports nothing of the gateway.

    engine       the HTTP face, `python -m app.demo.engine`
    asked        the form of a request, checked
    refusal      what a client gets instead of a transcript
    listening    bounded threads between the HTTP face and the recogniser
    decoding     a file of any of the nine containers -> 16 kHz mono PCM
    utterances   PCM -> stretches of speech
    recognition  a stretch of speech -> hypotheses, ever longer
    settling     hypotheses -> words that will not be taken back
    transcript   words, segments, durations
    formats      a transcript -> json, text, srt, vtt, verbose_json, SSE frames
    demo         the engine and the gateway started, shown at work, and stopped
    surroundings what the demo gives to both: config, environment, port
    caller       what a caller does: a clip sent with the OpenAI SDK, the answer shown
"""

from pathlib import Path

# The clip of the demo: some seconds of English, spoken by a machine.
SAMPLE = Path(__file__).with_name("sample.m4a")

# Where the engine's key stands in the environment, for who starts it and for the gateway before it.
KEY_VARIABLE = "EMBEDDED_ENGINE_KEY"
