import pytest

from app.wire.media import AudioMeter, Container
from tests.audio import duration
from tests.wire.media.lies import LIES, SECONDS
from tests.wire.media.parts import measure, verdict


@pytest.mark.parametrize("lie", LIES)
def test_a_file_with_false_claims_is_measured_by_what_a_decoder_plays(lie: str) -> None:
    """At least nine tenths of it, whatever the container states."""
    data = LIES[lie]()
    played = duration(data)
    assert played > 0.9 * SECONDS
    assert 0.9 * played <= measure(data).seconds <= 4 * played


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_measured_the_same_for_every_split(lie: str) -> None:
    data = LIES[lie]()
    container = verdict(data)
    assert isinstance(container, Container)
    meter = AudioMeter(container)
    for at in range(0, len(data), 997):
        meter.feed(data[at : at + 997])
    assert meter.finish() == measure(data)
