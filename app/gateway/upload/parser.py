"""Parsing the upload as a stream: the form's fields, its model, and the container of its file.

    model, then file      the file's head is kept until it tells the container (in a spool if a tag with a picture
                          makes it long); the rest streams on as it arrives
    file, then model      the file is kept in a spool until the model has been read, then replayed

In both cases the result is an `Upload` with a valid model and container. Nothing has gone upstream yet.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple, Self

from app import errors
from app.config import Model
from app.errors import APIError
from app.gateway.admission_control import ConcurrencyLease
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.ports import Spool, Spools
from app.gateway.upload.file_head import FileHead, FormItems, read_fields, read_file_head
from app.gateway.upload.form import Field, FileBegin, FormReader
from app.gateway.upload.meter import UploadMeter
from app.gateway.upload.model_selection import select_model
from app.wire.media import Container


class Upload(NamedTuple):
    """A parsed upload, to be closed.

    `fields` came before the file. `body` yields the file from its first byte, then the fields behind it. It ends only
    if the form is complete; otherwise it raises APIError. `complete` means that the whole file has been measured.
    """

    model: Model
    fields: tuple[Field, ...]
    container: Container
    meter: UploadMeter
    max_file_bytes: int
    body: AsyncIterator[bytes | Field]
    spool: Spool | None = None
    complete: bool = False

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()


class UploadParser:
    """Parses uploads. It knows the models, the largest file, and where to keep a file that comes before its model."""

    def __init__(self, models: tuple[Model, ...], max_file_bytes: int, spools: Spools) -> None:
        self._models = {model.id: model for model in models}
        self._max_file_bytes = max_file_bytes
        self._spools = spools

    async def read(self, request: InboundRequest, caller: Caller, lease: ConcurrencyLease) -> Upload:
        """Returns the upload as soon as its model and its container are known; APIError if one of them is not valid."""
        items = FormItems(request.body, FormReader(lease.boundary, self._max_file_bytes, lease.text))
        fields = await read_fields(items)
        model = self._model_in(fields, request, caller)
        try:
            file = await read_file_head(items, partial(self._spools.open, caller.name))
        except APIError as error:
            error.model = model.id if model else None
            raise
        if model is None:
            return await self._spooled(request, caller, fields, file, items)
        bound = min(self._max_file_bytes, request.declared_bytes or self._max_file_bytes)
        body, complete = _LiveBody(file, items), request.progress.complete
        if complete:
            body.measure()
        return Upload(model, fields, file.container, file.meter, bound, body, file.kept.spool, complete)

    async def _spooled(
        self, request: InboundRequest, caller: Caller, fields: tuple[Field, ...], file: FileHead, items: FormItems
    ) -> Upload:
        """Returns the upload of a form that names its model behind its file, once all of it is in a spool."""
        spool = file.kept.spool or self._spools.open(caller.name)
        try:
            fields_behind = await _spool_rest(file, items, spool)
            model = self._model_in(fields_behind, request, caller)
            if model is None:
                raise errors.missing_parameter("model")
        except BaseException:
            spool.close()
            raise
        body = _replay(spool, fields_behind)
        return Upload(model, fields, file.container, file.meter, spool.size, body, spool, complete=True)

    def _model_in(self, fields: tuple[Field, ...], request: InboundRequest, caller: Caller) -> Model | None:
        """Returns the model that these fields name, checked; None if none of them is `model`."""
        value = next((field.value for field in fields if field.name == "model"), None)
        return None if value is None else select_model(value, request.operation, caller, self._models)


class _LiveBody:
    """Yields the file's kept head, then what still arrives. The head is no longer kept once it has been yielded."""

    def __init__(self, file: FileHead, items: FormItems) -> None:
        self._spool = file.kept.spool
        self._replay = self._spool.replay() if self._spool is not None else None
        self._kept: list[bytes | Field] = [] if file.following is None else [file.following]
        if self._spool is None:
            self._kept.append(file.kept.take())
        self._items = items
        self._meter = file.meter
        self._measured = False

    def measure(self) -> None:
        """Measures a file that has arrived completely, before it is yielded."""
        self._measured = True
        for item in self._items.waiting:
            if isinstance(item, bytes):
                self._meter.feed(item)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | Field:
        if self._replay is not None:
            chunk = await anext(self._replay, None)
            if chunk is not None:
                return chunk
            self._end_replay()
        if self._kept:
            return self._kept.pop()
        item = await anext(self._items)
        if isinstance(item, bytes) and not self._measured:
            self._meter.feed(item)
        assert not isinstance(item, FileBegin)
        return item

    def _end_replay(self) -> None:
        """Frees the space in the spools: the upload may go on for long."""
        self._replay = None
        if self._spool is not None:
            self._spool.close()


async def _spool_rest(file: FileHead, items: FormItems, spool: Spool) -> tuple[Field, ...]:
    """Writes the whole file to the spool, reads the form to its end, and returns the fields behind the file."""
    fields = [] if file.following is None else [file.following]
    if file.kept.spool is None:
        await spool.write(file.kept.take())
    async for item in items:
        if isinstance(item, bytes):
            file.meter.feed(item)
            await spool.write(item)
        else:
            assert isinstance(item, Field)
            fields.append(item)
    return tuple(fields)


async def _replay(spool: Spool, fields_behind: tuple[Field, ...]) -> AsyncIterator[bytes | Field]:
    async for chunk in spool.replay():
        yield chunk
    for field in fields_behind:
        yield field
