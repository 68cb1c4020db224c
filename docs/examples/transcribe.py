"""Speech to text through the gateway with openai-python: python transcribe.py transcribe|stream|translate FILE...

The SDK reads OPENAI_BASE_URL, the gateway's address with /v1, and OPENAI_API_KEY, a key of the gateway.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
from openai import AsyncOpenAI, OpenAI

FILES_AT_ONCE = 4


def translate(file: Path) -> str:
    with OpenAI() as client:
        return client.audio.translations.create(model="whisper-1", file=file).text


def stream(file: Path) -> Iterator[str]:
    """The pieces of the transcript, as they come."""
    with OpenAI() as client:
        for event in client.audio.transcriptions.create(model="gpt-4o-mini-transcribe", file=file, stream=True):
            if event.type == "transcript.text.delta":
                yield event.delta
            if event.type == "transcript.text.done":
                return
    # A connection that breaks ends the loop without an exception; only `done` says that the transcript is whole.
    raise EOFError("the stream was cut; what came of it is not the whole transcript")


async def transcribe(files: list[Path]) -> list[str]:
    """The transcripts in the order of the files. The SDK repeats what may be repeated, here up to four times."""
    at_once = asyncio.Semaphore(FILES_AT_ONCE)
    async with AsyncOpenAI(max_retries=4, timeout=900) as client:

        async def one(file: Path) -> str:
            async with at_once:
                return (await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file)).text

        return await asyncio.gather(*map(one, files))


def main(task: str, files: list[Path]) -> None:
    try:
        if task == "transcribe":
            print(*asyncio.run(transcribe(files)), sep="\n")
        for file in files if task == "translate" else []:
            print(translate(file))
        for file in files if task == "stream" else []:
            for piece in stream(file):
                print(piece, end="", flush=True)
            print()
    except openai.APIStatusError as error:
        # The request id finds the request in the gateway's log and ledger.
        sys.exit(f"{error.status_code} {error.code} ({error.request_id}): {error}")
    except (openai.APIError, EOFError) as error:
        sys.exit(f"no answer, or not a whole one: {error}")


if __name__ == "__main__":
    main(sys.argv[1], [Path(name) for name in sys.argv[2:]])
