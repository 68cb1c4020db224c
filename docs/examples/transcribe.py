"""Speech to text through the gateway with openai-python: python transcribe.py transcribe|stream|translate FILE...

The SDK reads OPENAI_BASE_URL (the gateway's address with /v1) and OPENAI_API_KEY (a key of the gateway).
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
from openai import AsyncOpenAI, OpenAI

MAX_CONCURRENT_FILES = 4


def translate(file: Path) -> str:
    with OpenAI() as client:
        return client.audio.translations.create(model="whisper-1", file=file).text


def stream(file: Path) -> Iterator[str]:
    """Yields the parts of the transcript as they arrive."""
    with OpenAI() as client:
        for event in client.audio.transcriptions.create(model="gpt-4o-mini-transcribe", file=file, stream=True):
            if event.type == "transcript.text.delta":
                yield event.delta
            if event.type == "transcript.text.done":
                return
    # A broken connection ends the loop without an exception. Only `done` means that the transcript is complete.
    raise EOFError("the stream was cut; the transcript is incomplete")


async def transcribe(files: list[Path]) -> list[str]:
    """Returns the transcripts in the order of the files. The SDK retries up to four times where a retry is safe."""
    limit = asyncio.Semaphore(MAX_CONCURRENT_FILES)
    async with AsyncOpenAI(max_retries=4, timeout=900) as client:

        async def one(file: Path) -> str:
            async with limit:
                return (await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file)).text

        return await asyncio.gather(*map(one, files))


def main(task: str, files: list[Path]) -> None:
    try:
        if task == "transcribe":
            print(*asyncio.run(transcribe(files)), sep="\n")
        for file in files if task == "translate" else []:
            print(translate(file))
        for file in files if task == "stream" else []:
            for delta in stream(file):
                print(delta, end="", flush=True)
            print()
    except openai.APIStatusError as error:
        # The operator can find the request by its id in the gateway's log and ledger.
        sys.exit(f"{error.status_code} {error.code} ({error.request_id}): {error}")
    except (openai.APIError, EOFError) as error:
        sys.exit(f"no response, or an incomplete one: {error}")


if __name__ == "__main__":
    main(sys.argv[1], [Path(name) for name in sys.argv[2:]])
