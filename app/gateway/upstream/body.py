"""The form as the upstream gets it: our boundary, the checked fields in the caller's order, the file under our name.

The tail is held: the file goes out as it arrives. What is behind it and the closing boundary go out only when the
caller's form is complete, the hold is what the measured audio may cost, and the hold is durable. Until then the
upstream cannot act on the request.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator

from app import errors
from app.clock import now_ms
from app.config import TimeoutSettings
from app.errors import APIError
from app.gateway.deadline import Deadline
from app.gateway.ports import LedgerUnavailable
from app.gateway.request_record import AttemptRecord
from app.gateway.reservation import Admission
from app.gateway.upload import Upload
from app.gateway.upload.form import Field
from app.wire.multipart import FormWriter


class UpstreamBody:
    """The body of one attempt.

    `record` has the attempt's moments and bytes. `text_bytes` is the size of the text fields that have passed. `ended`
    is set when nothing more is read from the body, and `error` is why the caller's form broke off.
    """

    def __init__(self, upload: Upload, admission: Admission, timeouts: TimeoutSettings) -> None:
        self._upload = upload
        self._admission = admission
        # The request's id is random, and the caller first sees it in the response: no file can contain this boundary.
        self._writer = FormWriter(admission.hold.id)
        self._timeouts = timeouts
        self._fields: dict[str, bytes] = {}
        self._tail = b""
        self.caller = admission.hold.caller
        self.content_type = self._writer.content_type
        self.record = AttemptRecord(time.monotonic())
        self.ended = asyncio.Event()
        self.closing_released = False
        self.error: APIError | None = None
        self.text_bytes = 0

    def text(self, name: str) -> str:
        """Returns the last value of this field among those that have passed; empty if there was none."""
        return self._fields.get(name, b"").decode()

    @property
    def tail_bytes(self) -> int:
        """The size of the tail, once the content has been read to its end."""
        return len(self._tail) + len(self._writer.close())

    async def content(self) -> AsyncIterator[bytes]:
        """Yields everything but the tail, as the caller sends it. Small pieces are joined to the next."""
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

    async def stream(self, content: AsyncIterator[bytes], deadline: Deadline) -> AsyncGenerator[bytes, None]:
        """Yields the content, then the tail. An APIError that ends it is kept, because the HTTP client wraps it.

        The deadline is the upstream's. It is suspended while the gateway waits for the caller.
        """
        record = self.record
        record.connected = time.monotonic()
        deadline.suspend()
        try:
            async for chunk in content:
                if record.sent_ms is None:
                    record.sent_ms = time.time_ns() // 1_000_000
                record.sent_bytes += len(chunk)
                deadline.allow(self._timeouts.write_idle)
                began = time.monotonic()
                yield chunk
                record.sending += time.monotonic() - began
                deadline.suspend()
            deadline.allow(None)
            await self._hold_is_durable()
            deadline.allow(self._timeouts.first_byte)
            tail = self._tail + self._writer.close()
            record.sent_bytes += len(tail)
            self.closing_released = True
            record.released = time.monotonic()
            yield tail
        except APIError as error:
            self.error = error
            raise
        finally:
            self.ended.set()

    def _field(self, field: Field) -> bytes:
        self._fields[field.name] = field.value
        self.text_bytes += len(field.value)
        value = self._admission.model.name_upstream.encode() if field.name == "model" else field.value
        return self._writer.field(field.name, value)

    async def _hold_is_durable(self) -> None:
        try:
            await self._admission.durable()
        except LedgerUnavailable as error:
            raise errors.ledger_unavailable() from error
