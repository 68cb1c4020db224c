"""The form as the provider gets it: our boundary, the checked fields in the caller's order, the file under our name.

The tail is held: the file goes out as it comes in, what is behind it and the closing boundary only when the caller's
form has proved complete, the hold is what the measured audio may cost, and it is durable. Until then no provider can
act on the request.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator

from app import errors
from app.clock import now_ms
from app.config import TimeoutSettings
from app.errors import APIError
from app.gateway.deadline import Deadline
from app.gateway.form import Field
from app.gateway.ports import LedgerUnavailable
from app.gateway.reservation import Admission
from app.gateway.upload import Upload
from app.wire.multipart import FormWriter


class UpstreamBody:
    """One request's body on its way upstream, and the marks it leaves: what was sent, when, and why it broke off.
    `text_bytes` is the size of the text fields.

    `began`, `asked`, `connected`, `released` (the closing boundary) and `answered` are moments on the monotonic clock;
    `pushed` is how long the provider took to take the bytes in. All in seconds.
    """

    def __init__(self, upload: Upload, admission: Admission, timeouts: TimeoutSettings) -> None:
        self._upload = upload
        self._admission = admission
        # The request's id is random, and its caller learns of it with the answer: no file can hold this boundary.
        self._writer = FormWriter(admission.hold.id)
        self._timeouts = timeouts
        self._fields: dict[str, bytes] = {}
        self._tail = b""
        self.caller = admission.hold.caller
        self.content_type = self._writer.content_type
        self.ended = asyncio.Event()
        self.closing_released = False
        self.refusal: APIError | None = None
        self.sent_ms: int | None = None
        self.sent_bytes = 0
        self.text_bytes = 0
        self.began = time.monotonic()
        self.asked: float | None = None
        self.connected: float | None = None
        self.released: float | None = None
        self.answered: float | None = None
        self.pushed = 0.0

    def text(self, name: str) -> str:
        """The last value of this field among those that have passed; empty if there was none."""
        return self._fields.get(name, b"").decode()

    @property
    def tail_bytes(self) -> int:
        """How long the tail is, once the content has been read to its end."""
        return len(self._tail) + len(self._writer.close())

    async def content(self) -> AsyncIterator[bytes]:
        """Everything but the tail, as the caller sends it; small pieces joined to the next."""
        container = self._upload.container
        pending = [self._field(field) for field in self._upload.fields]
        pending.append(self._writer.file_head(f"audio.{container.value}", container.media_type))
        end_of_file = self._writer.file_end()
        async for item in self._upload.body:
            if isinstance(item, Field):
                pending += end_of_file, self._field(item)
                end_of_file = b""
            elif pending:
                joined = b"".join([*pending, item])
                pending.clear()
                yield joined
            else:
                yield item
        self._tail = b"".join([*pending, end_of_file])
        self._admission.revise(self._upload, now_ms())

    async def body(self, content: AsyncIterator[bytes], deadline: Deadline) -> AsyncGenerator[bytes, None]:
        """The content and its tail. An APIError that ends it is kept: the HTTP client wraps what a body raises.

        The deadline is the provider's. It is suspended while the next step is the caller's.
        """
        self.connected = time.monotonic()
        deadline.suspend()
        try:
            async for chunk in content:
                self._mark_sent()
                self.sent_bytes += len(chunk)
                deadline.allow(self._timeouts.write_idle)
                began = time.monotonic()
                yield chunk
                self.pushed += time.monotonic() - began
                deadline.suspend()
            deadline.allow(None)
            await self._committed()
            deadline.allow(self._timeouts.first_byte)
            tail = self._tail + self._writer.close()
            self.sent_bytes += len(tail)
            self.closing_released = True
            self.released = time.monotonic()
            yield tail
        except APIError as refusal:
            self.refusal = refusal
            raise
        finally:
            self.ended.set()

    def _field(self, field: Field) -> bytes:
        self._fields[field.name] = field.value
        self.text_bytes += len(field.value)
        value = self._admission.model.name_upstream.encode() if field.name == "model" else field.value
        return self._writer.field(field.name, value)

    def _mark_sent(self) -> None:
        if self.sent_ms is None:
            self.sent_ms = time.time_ns() // 1_000_000

    async def _committed(self) -> None:
        try:
            await self._admission.durable()
        except LedgerUnavailable as error:
            raise errors.ledger_unavailable() from error
