"""The beginning of an upload: the items of its form, and the first bytes of its file, which tell the container."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple, Self

from app import errors
from app.gateway.ports import Spool
from app.gateway.upload.form import Field, FileBegin, FormReader, Item
from app.gateway.upload.meter import UploadMeter
from app.wire.media import FORMATS, HEAD_BYTES, Container, Sniffer, Unrecognised


class FormItems:
    """Iterates over the items of a form as its bytes arrive."""

    def __init__(self, body: AsyncIterator[bytes], form: FormReader) -> None:
        self._body = body
        self._form = form
        self._waiting: deque[Item] = deque()

    @property
    def waiting(self) -> Iterable[Item]:
        """The items that have arrived and are not consumed yet."""
        return self._waiting

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while not self._waiting:
            try:
                data = await anext(self._body)
            except StopAsyncIteration:
                self._form.finish()
                raise
            self._waiting.extend(self._form.feed(data))
        return self._waiting.popleft()


class KeptBytes:
    """A file's first bytes: in memory up to HEAD_BYTES; beyond that, all of them in a spool."""

    def __init__(self, open_spool: Callable[[], Spool]) -> None:
        self._open_spool = open_spool
        self._chunks: list[bytes] = []
        self._size = 0
        self.spool: Spool | None = None

    async def add(self, data: bytes, *, last: bool) -> None:
        """Keeps these bytes too. `last` means that no more follow, so that they need no spool."""
        self._chunks.append(data)
        self._size += len(data)
        if self.spool is None and (last or self._size <= HEAD_BYTES):
            return
        if self.spool is None:
            self.spool = self._open_spool()
        await self.spool.write(self.take())

    def take(self) -> bytes:
        """Removes the bytes that are in memory, and returns them."""
        kept, self._chunks = b"".join(self._chunks), []
        return kept

    async def measure(self, meter: UploadMeter) -> None:
        for chunk in self._chunks:
            meter.feed(chunk)
        if self.spool is not None:
            async for chunk in self.spool.replay():
                meter.feed(chunk)

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()


class FileHead(NamedTuple):
    """A file whose container is known. `following` is the field behind it, if the head is the whole file."""

    container: Container
    meter: UploadMeter
    kept: KeptBytes
    following: Field | None


async def read_fields(items: FormItems) -> tuple[Field, ...]:
    """Returns the fields before the file. The form reader refuses a form without a file when it ends."""
    fields: list[Field] = []
    async for item in items:
        if isinstance(item, FileBegin):
            return tuple(fields)
        assert isinstance(item, Field)
        fields.append(item)
    raise errors.missing_parameter("file")


async def read_file_head(items: FormItems, open_spool: Callable[[], Spool]) -> FileHead:
    """Returns the file's head, read until it tells the container; APIError if the format is not supported."""
    kept = KeptBytes(open_spool)
    try:
        container, following = await _recognise(items, kept)
        if isinstance(container, Unrecognised):
            raise errors.invalid_file_format(FORMATS, container.kind, container.header_missing)
        meter = UploadMeter(container)
        await kept.measure(meter)
    except BaseException:
        kept.close()
        raise
    return FileHead(container, meter, kept, following)


async def _recognise(items: FormItems, kept: KeptBytes) -> tuple[Container | Unrecognised, Field | None]:
    """Returns the container, and the field behind the file if the head is the whole file."""
    sniffer, following, is_empty = Sniffer(), None, True
    while sniffer.verdict is None:
        item = await anext(items, None)
        if isinstance(item, bytes):
            is_empty = False
            sniffer.feed(item)
            await kept.add(item, last=sniffer.verdict is not None)
        else:
            assert not isinstance(item, FileBegin)
            following = item
            sniffer.finish()
    if is_empty:
        raise errors.empty_file()
    return sniffer.verdict, following
