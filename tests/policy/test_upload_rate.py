"""The minimum rate of an upload, as streams of (seconds waited, bytes received)."""

from app.config import Config
from app.policy.upload_rate import START_SECONDS, UploadRate
from app.wire.media import Container

TIMEOUTS = Config().timeouts


def default() -> UploadRate:
    return UploadRate(TIMEOUTS.min_upload_rate, TIMEOUTS.body_idle)


def lasts(rate: UploadRate, pause: float, size: int, pauses: int) -> bool:
    """Whether so many pieces of this size, each after this pause, all arrive before the credit is used up."""
    for _ in range(pauses):
        if pause > rate.seconds:
            return False
        rate.waited(pause)
        rate.received(size)
    return True


def test_the_default_accepts_each_container_at_its_lowest_bit_rate() -> None:
    for container in Container:
        assert lasts(default(), 1.0, container.lowest_bit_rate // 8, 10 * 3600), container


def test_opus_at_700_bytes_a_second_is_not_cut() -> None:
    assert lasts(default(), 1.0, 700, 4 * 3600)


def test_a_pause_in_live_speech_is_not_cut() -> None:
    rate = default()
    assert lasts(rate, 0.2, 140, 600)
    assert lasts(rate, TIMEOUTS.body_idle - 1, 140, 1)
    assert lasts(rate, 0.2, 140, 600)


def test_a_fast_start_pays_for_no_more_than_the_idle_time() -> None:
    rate = default()
    rate.received(25 * 1024 * 1024)
    pauses = 0
    while lasts(rate, 2.0, 1, 1):
        pauses += 1
    assert 0 < pauses * 2.0 <= TIMEOUTS.body_idle + 2.0


def test_single_bytes_are_cut_after_the_first_seconds() -> None:
    assert not lasts(default(), 1.0, 1, int(START_SECONDS) + 2)


def test_a_short_idle_time_bounds_the_first_seconds_too() -> None:
    assert UploadRate(100, 0.5).seconds == 0.5
