"""Transcribes files in a bounded pool of threads.

PocketSphinx holds Python's lock while it works, so a second thread makes nothing faster: it keeps a short clip from
waiting for a long one. Words wait in a queue for their reader, so that a slow client blocks no thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO

from app.demo.engine.decoding import Audio
from app.demo.engine.recognition import Recogniser
from app.demo.engine.stabilizer import Stabilizer
from app.demo.engine.transcript import Transcript, Word
from app.demo.engine.utterances import utterances

THREADS = 2


@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """New words, which no longer change, and how many seconds of the file have been decoded so far."""

    words: tuple[Word, ...]
    seconds: float


class Transcriber:
    """Transcribes THREADS files at a time, each thread with its own recogniser; more files wait."""

    def __init__(self) -> None:
        self._thread_local = threading.local()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="transcribing")

    async def warm_up(self) -> None:
        """Loads the first recogniser, so that the first request does not wait for it."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._recogniser)

    async def transcribe(self, file: BinaryIO) -> Transcript:
        """The transcript of the whole file; raises UnreadableAudio. Closes the file."""
        words: tuple[Word, ...] = ()
        seconds = 0.0
        async with aclosing(self.stream(file)) as parts:
            async for part in parts:
                words, seconds = words + part.words, part.seconds
        return Transcript(words, seconds)

    async def stream(self, file: BinaryIO) -> AsyncGenerator[PartialTranscript, None]:
        """The parts of the transcript as they are recognised; raises UnreadableAudio.

        The first part has no words and shows that the file is readable; the last has the file's full length. Closes the
        file. To stop early, close the generator.
        """
        results: asyncio.Queue[PartialTranscript | Exception | None] = asyncio.Queue()
        stopped = threading.Event()
        loop = asyncio.get_running_loop()

        def work() -> None:
            for result in self._results(file, stopped):
                loop.call_soon_threadsafe(results.put_nowait, result)

        working = loop.run_in_executor(self._threads, work)
        try:
            while (result := await results.get()) is not None:
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            stopped.set()
            working.cancel()

    def _results(self, file: BinaryIO, stopped: threading.Event) -> Iterator[PartialTranscript | Exception | None]:
        """The parts, or the exception that ended them; then None."""
        try:
            for part in _parts(file, self._recogniser()):
                yield part
                if stopped.is_set():
                    break
        except Exception as error:
            yield error
        finally:
            file.close()
        yield None

    def _recogniser(self) -> Recogniser:
        """This thread's recogniser."""
        if not hasattr(self._thread_local, "recogniser"):
            self._thread_local.recogniser = Recogniser()
        recogniser: Recogniser = self._thread_local.recogniser
        return recogniser


def _parts(file: BinaryIO, recogniser: Recogniser) -> Iterator[PartialTranscript]:
    with Audio(file) as audio:
        yield PartialTranscript((), 0.0)
        for utterance in utterances(audio):
            stabilizer = Stabilizer()
            hypothesis: tuple[Word, ...] = ()
            for now, hypothesis in recogniser.hypotheses(utterance):
                yield PartialTranscript(stabilizer.feed(now, hypothesis), audio.seconds)
            yield PartialTranscript(stabilizer.finish(hypothesis), audio.seconds)
        yield PartialTranscript((), audio.seconds)
