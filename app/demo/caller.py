"""What a caller of the gateway does: sends a clip with the OpenAI SDK, shows what comes back. Knows no other module."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from pathlib import Path

import openai

MODEL = "gpt-4o-mini-transcribe"
INDENT = " " * 12


class Refused(Exception):
    """The gateway gave no transcript; the message is its own."""


class Paragraph:
    """Text that grows on the terminal word by word, broken at its width, behind a label."""

    def __init__(self, label: str) -> None:
        self._width = shutil.get_terminal_size().columns
        self._column = len(INDENT)
        print(label.ljust(self._column), end="", flush=True)

    def add(self, text: str) -> None:
        for word in re.findall(r"\s*\S+", text):
            breaks = word[0].isspace() and self._column + len(word) > self._width
            shown = f"\n{INDENT}{word.lstrip()}" if breaks else word
            self._column = len(shown) - 1 if breaks else self._column + len(word)
            print(shown, end="", flush=True)


class Caller:
    """One caller, by base URL and key."""

    def __init__(self, base_url: str, key: str) -> None:
        self.base_url, self.key = base_url, key
        # The gateway is on this machine: a proxy that the environment names must not come in between.
        http_client = openai.DefaultHttpxClient(trust_env=False)
        self._openai = openai.OpenAI(base_url=base_url, api_key=key, http_client=http_client)

    def show(self, clip: Path) -> None:
        """Prints the clip's transcript, asked for as json and as a stream; raises Refused."""
        try:
            self._show_json(clip)
            self._show_stream(clip)
        except openai.APIStatusError as error:
            raise Refused(f"the gateway refused {clip}: {error.status_code} {error.code}: {_message(error)}") from error
        except openai.APIError as error:
            raise Refused(f"no transcript of {clip}: {_message(error)}") from error

    def _show_json(self, clip: Path) -> None:
        began = time.monotonic()
        text = self._openai.audio.transcriptions.create(model=MODEL, file=clip).text
        Paragraph("4. json").add(text)
        print(f"\n{INDENT}({clip.name}, {time.monotonic() - began:.1f} s)", flush=True)

    def _show_stream(self, clip: Path) -> None:
        paragraph, deltas = Paragraph("5. stream"), 0
        for event in self._openai.audio.transcriptions.create(model=MODEL, file=clip, stream=True):
            if event.type == "transcript.text.delta":
                paragraph.add(event.delta)
                deltas += 1
        print(f"\n{INDENT}({deltas} deltas, shown as they came)", flush=True)

    def how_to(self, clip: Path) -> str:
        """What to paste into a shell and into Python to do the same."""
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


def _message(error: openai.APIError) -> str:
    told = error.body.get("message") if isinstance(error.body, dict) else None
    return str(told or error.message)
