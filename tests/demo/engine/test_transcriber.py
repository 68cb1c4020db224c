import asyncio
import io
import threading
import wave

from app.demo.engine.decoding import BYTES_PER_SECOND, SAMPLE_RATE, Audio
from app.demo.engine.transcriber import Transcriber
from tests.demo.clips import WORDS, clip


class HalfFile(io.BytesIO):
    """A file whose second half cannot be read before `gate` is set."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.gate = threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        wanted = len(self.getbuffer()) if size is None or size < 0 else size
        if self.tell() + wanted > len(self.getbuffer()) // 2:
            assert self.gate.wait(60), "no words of the first half"
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


def test_words_arrive_before_the_rest_of_the_file() -> None:
    async def scenario() -> None:
        file = HalfFile(spoken_twice())
        words: list[str] = []
        async for part in Transcriber().stream(file):
            words += [word.text for word in part.words]
            if " ".join(words) == WORDS:
                file.gate.set()
        assert " ".join(words) == f"{WORDS} {WORDS}"

    asyncio.run(scenario())
