"""Bounded threads between the HTTP face and the recogniser. Knows the engine's parts; nothing of HTTP.

PocketSphinx holds Python's lock while it works, so a second thread makes nothing faster: it only keeps a short clip
from waiting for a long one. Words wait in a queue for who reads them, so that a slow reader keeps no thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO

from app.demo.decoding import Audio
from app.demo.recognition import Recogniser
from app.demo.stabilizer import Stabilizer
from app.demo.transcript import Transcript, Word
from app.demo.utterances import utterances

THREADS = 2


@dataclass(frozen=True, slots=True)
class Recognition:
    """Words that will not be taken back, and how many seconds of the file have been decoded so far."""

    words: tuple[Word, ...]
    seconds: float


class Listener:
    """Hears files, THREADS at a time, each thread with a recogniser of its own; more wait their turn."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="listening")

    async def warm_up(self) -> None:
        """Loads the first recogniser, so that the first request does not wait for it."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._recogniser)

    async def transcript(self, file: BinaryIO) -> Transcript:
        """The whole of it; raises UnreadableAudio. Closes the file."""
        words: tuple[Word, ...] = ()
        seconds = 0.0
        async with aclosing(self.hear(file)) as hearing:
            async for heard in hearing:
                words, seconds = words + heard.words, heard.seconds
        return Transcript(words, seconds)

    async def hear(self, file: BinaryIO) -> AsyncGenerator[Recognition, None]:
        """What is heard, as it is: first one with no words, once the file has proved readable, then words in order,
        last one that tells the file's whole length. Raises UnreadableAudio. Closes the file; to stop early, close this.
        """
        results: asyncio.Queue[Recognition | Exception | None] = asyncio.Queue()
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

    def _results(self, file: BinaryIO, stopped: threading.Event) -> Iterator[Recognition | Exception | None]:
        try:
            for heard in _heard(file, self._recogniser()):
                yield heard
                if stopped.is_set():
                    break
        except Exception as error:
            yield error
        finally:
            file.close()
        yield None

    def _recogniser(self) -> Recogniser:
        if not hasattr(self._own, "recogniser"):
            self._own.recogniser = Recogniser()
        recogniser: Recogniser = self._own.recogniser
        return recogniser


def _heard(file: BinaryIO, recogniser: Recogniser) -> Iterator[Recognition]:
    with Audio(file) as audio:
        yield Recognition((), 0.0)
        for utterance in utterances(audio):
            settling = Stabilizer()
            hypothesis: tuple[Word, ...] = ()
            for now, hypothesis in recogniser.hypotheses(utterance):
                yield Recognition(settling.feed(now, hypothesis), audio.seconds)
            yield Recognition(settling.finish(hypothesis), audio.seconds)
        yield Recognition((), audio.seconds)
