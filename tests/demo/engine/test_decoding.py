import io
import random

import pytest

from app.demo.engine.decoding import Audio, UnreadableAudio
from tests.demo.clips import ENCODINGS, SECONDS, clip, silence


def decoded(file: bytes) -> tuple[int, float]:
    with Audio(io.BytesIO(file)) as audio:
        length = sum(len(chunk) for chunk in audio)
        return length, audio.seconds


@pytest.mark.parametrize("extension", ENCODINGS)
def test_each_container_is_decoded_in_full(extension: str) -> None:
    length, seconds = decoded(clip(extension))
    assert seconds == pytest.approx(SECONDS, abs=0.1)
    assert length == seconds * 32_000


def test_silence_is_audio() -> None:
    assert decoded(silence(1.5)) == (48_000, 1.5)


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"hello, this is no audio at all\n" * 100,
        random.Random(1).randbytes(40_000),
        b"\x89PNG\r\n\x1a\n" + bytes(2000),
        silence(0),
    ],
    ids=["empty", "text", "noise", "image", "no samples"],
)
def test_a_file_without_audio_is_unreadable(file: bytes) -> None:
    with pytest.raises(UnreadableAudio):
        Audio(io.BytesIO(file))


def test_a_playlist_does_not_open_the_files_that_it_names(tmp_path_factory: pytest.TempPathFactory) -> None:
    named = tmp_path_factory.mktemp("playlist") / "named.wav"
    named.write_bytes(silence(1))
    for playlist in (f"#EXTM3U\n#EXTINF:1,\n{named}\n#EXT-X-ENDLIST\n", f"ffconcat version 1.0\nfile '{named}'\n"):
        with pytest.raises(UnreadableAudio):
            Audio(io.BytesIO(playlist.encode()))


def test_damage_costs_only_the_damaged_samples() -> None:
    file = bytearray(clip("mp3"))
    file[9000:9600] = random.Random(2).randbytes(600)
    assert decoded(bytes(file))[1] == pytest.approx(SECONDS, abs=0.5)


def test_joined_files_of_different_formats_are_decoded_in_full() -> None:
    assert decoded(clip("mp3") + clip("mpga"))[1] == pytest.approx(2 * SECONDS, abs=0.3)
