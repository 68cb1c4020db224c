"""The scripted upstream's responses as values, and ready-made responses of a real provider."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from threading import Event
from typing import Any, Literal, NamedTuple

Headers = Sequence[tuple[str, str]]
Usage = dict[str, Any]

TOKENS: Usage = {
    "type": "tokens",
    "input_tokens": 14,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
    "output_tokens": 45,
    "total_tokens": 59,
}


def duration_usage(seconds: float) -> Usage:
    """Returns usage in seconds, the other shape."""
    return {"type": "duration", "seconds": seconds}


class Step(NamedTuple):
    """Waits for the gate, then for the delay in seconds, then writes."""

    gate: Event | None
    delay: float
    data: bytes


@dataclass(frozen=True)
class Reply:
    """One scripted response.

    body        bytes, or chunks of (seconds to wait before it, bytes)
    framing     the header that it needs is added unless `headers` has one of that name, so a wrong one can be sent;
                "close" ends the body with the connection; "raw" writes the bytes of `raw` in place of head and body
    delay       seconds before the head
    gate        awaited before the head; `tail_gate` before the last piece of the body
    when        "after_body"; or early: "after_head", or "after_bytes" once `after` bytes of the body have come
    then        after an early response: "read_on"; "close" (with bytes unread, so the kernel resets); "hold": neither
                read nor close
    read_gate   no more of the body is read once `after` bytes of it have come, until this gate; with "after_body"
    cut_after   ends the connection, as `cut` says, after so many bytes of the body (or of `raw`), without a
                terminating chunk
    hang        sends no response and waits until the other side leaves
    close_after "announced" (with Connection: close), "silent", "never"; by default "announced" for framing "close",
                "silent" for "raw", "never" for the rest. It obeys a caller's own Connection: close
    """

    status: int = 200
    headers: Headers = ()
    body: bytes | Sequence[tuple[float, bytes]] = b""
    framing: Literal["length", "chunked", "close", "raw"] = "length"
    raw: bytes = b""
    delay: float = 0.0
    gate: Event | None = None
    tail_gate: Event | None = None
    when: Literal["after_body", "after_head", "after_bytes"] = "after_body"
    after: int = 0
    read_gate: Event | None = None
    then: Literal["read_on", "close", "hold"] = "read_on"
    cut_after: int | None = None
    cut: Literal["reset", "close"] = "reset"
    hang: bool = False
    close_after: Literal["announced", "silent", "never"] | None = None

    def but(self, **changes: Any) -> "Reply":
        """Returns a copy with these changes."""
        return replace(self, **changes)

    @property
    def closes(self) -> Literal["announced", "silent", "never"]:
        by_framing: dict[str, Literal["announced", "silent", "never"]] = {"close": "announced", "raw": "silent"}
        return self.close_after or by_framing.get(self.framing, "never")

    def steps(self) -> Iterator[Step]:
        """Yields everything to write, in order, up to the cut if there is one."""
        if self.framing == "raw":
            yield Step(self.gate, self.delay, self.raw[: self.cut_after])
            return
        steps = [Step(self.gate, self.delay, self._head()), *self._body_steps()]
        if self.framing == "chunked" and self.cut_after is None:
            steps.append(Step(None, 0, b"0\r\n\r\n"))
        if isinstance(self.body, bytes) and self.tail_gate is None:
            # One write, as in a plain server. The chunks of a list stay separate writes.
            steps = [Step(self.gate, self.delay, b"".join(step.data for step in steps))]
        yield from steps

    def _chunks(self) -> Sequence[tuple[float, bytes]]:
        return [(0.0, self.body)] if isinstance(self.body, bytes) else self.body

    def _body_steps(self) -> Iterator[Step]:
        chunks = self._chunks()
        left = self.cut_after
        for number, (delay, data) in enumerate(chunks, start=1):
            gate = self.tail_gate if number == len(chunks) else None
            yield Step(gate, delay, self._framed(data, left))
            if left is not None:
                left -= min(left, len(data))
                if not left:
                    return

    def _framed(self, data: bytes, cut: int | None) -> bytes:
        if self.framing != "chunked":
            return data[:cut]
        if not data or cut == 0:
            return b""
        # A cut inside a chunk leaves fewer bytes than its size line says.
        size = b"%x\r\n" % len(data)
        return size + (data + b"\r\n" if cut is None or cut >= len(data) else data[:cut])

    def _head(self) -> bytes:
        phrase = HTTPStatus(self.status).phrase if self.status in HTTPStatus._value2member_map_ else "Unknown"
        lines = [f"HTTP/1.1 {self.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in [*self.headers, *self._framing_headers()]]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _framing_headers(self) -> Iterator[tuple[str, str]]:
        given = {name.lower() for name, _ in self.headers}
        if self.framing == "length" and "content-length" not in given:
            yield "Content-Length", str(sum(len(data) for _, data in self._chunks()))
        if self.framing == "chunked" and "transfer-encoding" not in given:
            yield "Transfer-Encoding", "chunked"
        if self.closes == "announced" and "connection" not in given:
            yield "Connection", "close"


def _json_reply(status: int, document: dict[str, Any], headers: Headers = ()) -> Reply:
    body = json.dumps(document, ensure_ascii=False).encode()
    return Reply(status, [("Content-Type", "application/json"), *headers], body)


def json_answer(text: str, usage: Usage | None = None, **more: Any) -> Reply:
    """A response for response_format=json; `more` has further keys."""
    return _json_reply(200, {"text": text, **more, **({"usage": usage} if usage else {})})


def verbose_answer(
    text: str, duration: float = 1.0, language: str = "english", usage: Usage | None = None, **more: Any
) -> Reply:
    """A response for response_format=verbose_json."""
    return json_answer(text, usage, task="transcribe", language=language, duration=duration, **more)


def text_answer(body: str, content_type: str = "text/plain; charset=utf-8") -> Reply:
    """A response for response_format=text, srt or vtt."""
    return Reply(headers=[("Content-Type", content_type)], body=body.encode())


def sse_frame(event: dict[str, Any]) -> bytes:
    """One event of a stream."""
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def sse_answer(
    deltas: Sequence[str], usage: Usage | None = None, *, done: bool = True, end_mark: bool = False, delay: float = 0.0
) -> Reply:
    """A response for stream=true: a chunk for each delta, transcript.text.done (`done`) and `[DONE]` (`end_mark`).

    `delay` is the pause before each chunk but the first; `tail_gate` delays the last one.
    """
    frames = [sse_frame({"type": "transcript.text.delta", "delta": delta}) for delta in deltas]
    if done:
        closing = {"type": "transcript.text.done", "text": "".join(deltas)}
        frames.append(sse_frame({**closing, "usage": usage} if usage else closing))
    if end_mark:
        frames.append(b"data: [DONE]\n\n")
    chunks = [(delay if number else 0.0, frame) for number, frame in enumerate(frames)]
    headers = [("Content-Type", "text/event-stream; charset=utf-8")]
    return Reply(headers=headers, body=chunks, framing="chunked")


def error_answer(
    status: int,
    code: str | None,
    message: str,
    *,
    type: str = "invalid_request_error",
    param: str | None = None,
    headers: Headers = (),
) -> Reply:
    """An error in OpenAI's envelope."""
    error = {"message": message, "type": type, "param": param, "code": code}
    return _json_reply(status, {"error": error}, headers)


def no_answer(cut: Literal["reset", "close"] = "reset") -> Reply:
    """Ends the connection without a byte of a response."""
    return Reply(framing="raw", cut_after=0, cut=cut)
