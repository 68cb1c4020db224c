"""One caller of the gateway: sends a clip with httpx and prints the response. Imports no other module of the demo.

The request is the one that the OpenAI SDK sends; `instructions` prints how to send it with curl and with the SDK.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

MODEL = "gpt-4o-mini-transcribe"
INDENT = " " * 12
TIMEOUT_SECONDS = 600.0


class TranscriptionFailed(Exception):
    """The gateway returned no transcript; the message includes the gateway's own."""


class Paragraph:
    """A labelled paragraph that is printed word by word and wrapped at the terminal's width."""

    def __init__(self, label: str) -> None:
        self._width = shutil.get_terminal_size().columns
        self._column = len(INDENT)
        print(label.ljust(self._column), end="", flush=True)

    def add(self, text: str) -> None:
        for word in re.findall(r"\s*\S+", text):
            wraps = word[0].isspace() and self._column + len(word) > self._width
            output = f"\n{INDENT}{word.lstrip()}" if wraps else word
            self._column = len(output) - 1 if wraps else self._column + len(word)
            print(output, end="", flush=True)


class Caller:
    """A caller with its base URL and key."""

    def __init__(self, base_url: str, key: str) -> None:
        self.base_url, self.key = base_url, key
        # The gateway runs on this machine: requests must not pass through a proxy that the environment names.
        self._client = httpx.Client(
            headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT_SECONDS, trust_env=False
        )

    def show(self, clip: Path) -> None:
        """Prints the clip's transcript twice: from a JSON response, and from a stream. Raises TranscriptionFailed."""
        try:
            self._show_json(clip)
            self._show_stream(clip)
        except httpx.HTTPError as error:
            raise TranscriptionFailed(f"no transcript of {clip}: {error}") from error

    def _show_json(self, clip: Path) -> None:
        started = time.monotonic()
        with self._transcribe(clip) as response:
            text = str(json.loads(response.read())["text"])
        Paragraph("4. json").add(text)
        print(f"\n{INDENT}({clip.name}, {time.monotonic() - started:.1f} s)", flush=True)

    def _show_stream(self, clip: Path) -> None:
        paragraph, deltas = Paragraph("5. stream"), 0
        with self._transcribe(clip, stream="true") as response:
            for event in _events(response):
                if "error" in event:
                    raise TranscriptionFailed(f"the stream of {clip} failed: {_error_of(event)}")
                if event.get("type") == "transcript.text.delta":
                    paragraph.add(str(event["delta"]))
                    deltas += 1
        print(f"\n{INDENT}({deltas} deltas, printed as they arrived)", flush=True)

    @contextmanager
    def _transcribe(self, clip: Path, **fields: str) -> Iterator[httpx.Response]:
        """Sends the clip; yields the response before its body is read. Raises TranscriptionFailed for an error."""
        url = f"{self.base_url}/audio/transcriptions"
        with (
            clip.open("rb") as file,
            self._client.stream("POST", url, data={"model": MODEL, **fields}, files={"file": file}) as response,
        ):
            if not response.is_success:
                body = response.read()
                try:
                    reason = _error_of(json.loads(body))
                except ValueError:
                    reason = body.decode(errors="replace")
                raise TranscriptionFailed(f"the gateway rejected {clip}: {response.status_code} {reason}")
            yield response

    def instructions(self, clip: Path) -> str:
        """Commands for a shell and for Python that send the same request."""
        return f"""\
# A shell
export OPENAI_BASE_URL={self.base_url}
export OPENAI_API_KEY={self.key}
curl "$OPENAI_BASE_URL/audio/transcriptions" \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -F model={MODEL} \\
  -F file=@{shlex.quote(str(clip))}

# Python with the package openai, both variables set
from pathlib import Path
from openai import OpenAI
clip = Path({str(clip)!r})
create = OpenAI().audio.transcriptions.create
print(create(model="{MODEL}", file=clip).text)
"""


def _events(response: httpx.Response) -> Iterator[dict[str, object]]:
    """The JSON objects of a stream of server-sent events, each as soon as it arrives."""
    for line in response.iter_lines():
        data = line.removeprefix("data:").strip()
        if line.startswith("data:") and data != "[DONE]":
            yield json.loads(data)


def _error_of(document: object) -> str:
    """`code: message` of OpenAI's error envelope."""
    error = document.get("error") if isinstance(document, dict) else None
    return f"{error.get('code')}: {error.get('message')}" if isinstance(error, dict) else str(document)
