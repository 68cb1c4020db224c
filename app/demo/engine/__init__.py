"""The embedded speech engine: an OpenAI-compatible upstream on PocketSphinx.

It serves the demo and the gateway's tests, not real transcription: it takes plain, clearly spoken English and writes no
punctuation. From request to response:

    server        HTTP: routes, authentication, error responses, server-sent events
    request_form  the fields of the multipart form, validated
    errors        errors in OpenAI's envelope
    transcriber   a bounded pool of threads that transcribe files
    decoding      a file in any of the listed containers -> 16 kHz mono PCM
    utterances    PCM -> stretches of speech
    recognition   a stretch of speech -> hypotheses that grow word by word
    stabilizer    hypotheses -> words that no longer change
    transcript    words, segments, durations
    formats       a transcript -> json, text, srt, vtt, verbose_json, SSE frames
"""
