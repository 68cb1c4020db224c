import asyncio
import io
import threading
import wave

from app.demo.decoding import BYTES_PER_SECOND, SAMPLE_RATE, Audio
from app.demo.listener import Listener
from tests.demo.clips import WORDS, clip


class HeldBack(io.BytesIO):
    """A file whose second half is not to be had before `gate` is open."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.gate = threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        asked = len(self.getbuffer()) if size is None or size < 0 else size
        if self.tell() + asked > len(self.getbuffer()) // 2:
            assert self.gate.wait(60), "nothing was heard of the first half"
        return super().read(size)


def spoken_twice() -> bytes:
    """The sample, three seconds of silence, the sample again, three seconds of silence."""
    with Audio(io.BytesIO(clip("wav"))) as audio:
        pcm = b"".join(audio) + bytes(3 * BYTES_PER_SECOND)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        writer.writeframes(pcm * 2)
    return file.getvalue()


def test_words_are_told_before_the_rest_of_the_file_is_there() -> None:
    async def scenario() -> None:
        file = HeldBack(spoken_twice())
        words: list[str] = []
        async for heard in Listener().hear(file):
            words += [word.text for word in heard.words]
            if " ".join(words) == WORDS:
                file.gate.set()
        assert " ".join(words) == f"{WORDS} {WORDS}"

    asyncio.run(scenario())
