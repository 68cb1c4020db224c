"""Whether the usage that an upstream reports fits the audio that was measured. Pure.

    too much      more seconds than twice the hold and a minute
                  more tokens than twice the hold, 2,000, and one for each byte of the text fields
    too little    nothing, or less than a tenth of the measured seconds, or fewer than 10 tokens a minute of them

Upstreams round up to a window or a minimum, cut out silence, and count prompts. Their models sometimes repeat a phrase
up to the longest possible response. All of that is plausible and charged as reported. Wrong units, counters that never
ran and counters of something else are not. If the length is an estimate, "too little" begins ten times lower.
"""

from app.policy.budget import MS_PER_MINUTE, Amounts
from app.units import AudioMs, Usage

MIN_SHARE = 10
MIN_TOKENS_PER_MINUTE = 10
ESTIMATE_SLACK = 10
MAX_FACTOR = 2
EXTRA_AUDIO_MS = MS_PER_MINUTE
EXTRA_TOKENS = 2_000

TOO_MUCH = "more than the audio can use"
TOO_LITTLE = "less than the audio uses"


def doubt(reported: Usage, audio: AudioMs, measured: bool, hold: Amounts, text_bytes: int) -> str | None:
    """Returns why this usage is not believed; None if it is plausible.

    `audio` is the file's length, and `measured` is False if it is an estimate. `hold` is the most that the request may
    cost by that length. `text_bytes` is the size of the form's text fields.
    """
    slack = 1 if measured else ESTIMATE_SLACK
    if reported.audio is not None:
        if reported.audio > MAX_FACTOR * hold.audio + EXTRA_AUDIO_MS:
            return TOO_MUCH
        if reported.audio * MIN_SHARE * slack < audio or reported.audio == 0 < audio:
            return TOO_LITTLE
    if reported.tokens is not None:
        total = reported.tokens.total
        if total > MAX_FACTOR * hold.tokens + EXTRA_TOKENS + text_bytes:
            return TOO_MUCH
        if total * MS_PER_MINUTE * slack < MIN_TOKENS_PER_MINUTE * audio or total == 0 < audio:
            return TOO_LITTLE
    return None
