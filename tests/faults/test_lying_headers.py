"""K154 to K160: files that claim to be very short, although a decoder plays all of their audio."""

import pytest

from tests.audio import duration
from tests.behaviour.caller import form, post, request_id
from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import ScriptedUpstream
from tests.wire.media.lies import LIES

ROWS = {"ogg": "K154", "webm": "K155", "flac": "K156", "mp4": "K157", "wav": "K158", "mp3": "K159", "mpeg": "K160"}
NANO_USD_A_SECOND = 100_000


def cases() -> list[object]:
    return [pytest.param(lie, id=f"{ROWS[lie.partition(':')[0]]}-{lie}") for lie in LIES]


@pytest.mark.parametrize("lie", cases())
def test_what_a_decoder_plays_is_charged(gateway: GatewayProcess, upstream: ScriptedUpstream, lie: str) -> None:
    """For a complete response without usage, the charge is at least nine tenths of what a decoder plays."""
    audio = LIES[lie]()
    answer = post(gateway, form(audio=audio))
    assert answer.status == 200
    row = gateway.row(request_id(answer))
    played = duration(audio)
    assert row["audio_ms"] >= 900 * played
    assert row["cost_nano_usd"] >= 0.9 * played * NANO_USD_A_SECOND
