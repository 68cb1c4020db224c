"""Whether the usage that a provider reports can be that of the audio that was measured. Pure.

    too much      more seconds than twice the hold and a minute
                  more tokens than twice the hold, 2,000, and one for each byte of the text fields
    too little    nothing, or less than a tenth of the measured seconds, or fewer than 10 tokens a minute of them

Providers round up to a window or a minimum, cut out silence, count prompts, and now and then repeat a phrase up to the
longest answer of their models: all that is plausible, and charged as reported. Wrong units, counters that never ran and
counters of something else are not. Where the length is itself an estimate, "too little" begins ten times lower.
"""

from app.policy.budget import MS_PER_MINUTE, Amounts
from app.units import AudioMs, Usage

LEAST_SHARE = 10
FEWEST_TOKENS_PER_MINUTE = 10
ESTIMATE_SLACK = 10
MOST_TIMES = 2
MORE_AUDIO = MS_PER_MINUTE
MORE_TOKENS = 2_000

TOO_MUCH = "more than the audio can come to"
TOO_LITTLE = "less than the audio comes to"


def doubt(told: Usage, audio: AudioMs, measured: bool, hold: Amounts, text_bytes: int) -> str | None:
    """Why this usage is not believed; None if it is plausible.

    `audio` is the length of the file, `measured` whether it is more than an estimate, `hold` the most that the request
    may cost by that length, and `text_bytes` the size of the fields that went with the file.
    """
    slack = 1 if measured else ESTIMATE_SLACK
    if told.audio is not None:
        if told.audio > MOST_TIMES * hold.audio + MORE_AUDIO:
            return TOO_MUCH
        if told.audio * LEAST_SHARE * slack < audio or told.audio == 0 < audio:
            return TOO_LITTLE
    if told.tokens is not None:
        total = told.tokens.total
        if total > MOST_TIMES * hold.tokens + MORE_TOKENS + text_bytes:
            return TOO_MUCH
        if total * MS_PER_MINUTE * slack < FEWEST_TOKENS_PER_MINUTE * audio or total == 0 < audio:
            return TOO_LITTLE
    return None
