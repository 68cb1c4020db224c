"""What a caller of the gateway does: sends a clip with the OpenAI SDK, shows what comes back. Knows no other module."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import openai

MODEL = "gpt-4o-mini-transcribe"


class Refused(Exception):
    """The gateway gave no transcript; the message is its own."""


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
        print(f"4. json     {text}\n            ({clip.name}, {time.monotonic() - began:.1f} s)", flush=True)

    def _show_stream(self, clip: Path) -> None:
        print("5. stream   ", end="", flush=True)
        deltas = 0
        for event in self._openai.audio.transcriptions.create(model=MODEL, file=clip, stream=True):
            if event.type == "transcript.text.delta":
                print(event.delta, end="", flush=True)
                deltas += 1
        print(f"\n            ({deltas} deltas, shown as they came)", flush=True)

    def how_to(self, clip: Path) -> str:
        """What to paste into a shell and into Python to do the same."""
        return f"""\
base_url  {self.base_url}
key       {self.key}

curl {self.base_url}/audio/transcriptions -H "Authorization: Bearer {self.key}" \\
  -F model={MODEL} -F file=@{shlex.quote(str(clip))}

from pathlib import Path
from openai import OpenAI
client = OpenAI(base_url="{self.base_url}", api_key="{self.key}")
print(client.audio.transcriptions.create(model="{MODEL}", file=Path({str(clip)!r})).text)
"""


def _message(error: openai.APIError) -> str:
    told = error.body.get("message") if isinstance(error.body, dict) else None
    return str(told or error.message)
