"""Reading the form as a stream: is the model known, allowed and fit for the task, and is the file audio?

    model, then file      the file's head is kept until it tells the container (in a spool where a tag with a picture
                          makes it long); the rest flows on live
    file, then model      the file is kept in a spool until the model has been read, then replayed

Either way what leaves here is an `Upload` whose model and container are good, with not a byte sent upstream yet.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple, Self

from app import errors
from app.config import Model
from app.errors import APIError
from app.gateway.admission_control import ConcurrencyLease
from app.gateway.caller import Caller
from app.gateway.form import Field, FileBegin, FormReader, Item
from app.gateway.inbound_request import InboundRequest
from app.gateway.ports import Spool, Spools
from app.operations import Operation
from app.wire.media import FORMATS, HEAD_BYTES, AudioLength, AudioMeter, Container, Sniffer, Unrecognised

MAX_MODEL_BYTES = 256


class UploadMeter:
    """How much audio has come in: counts the file's bytes and measures their length as they pass."""

    def __init__(self, container: Container) -> None:
        self._meter = AudioMeter(container)
        self.file_bytes = 0

    def feed(self, data: bytes) -> None:
        self.file_bytes += len(data)
        self._meter.feed(data)

    def bound_seconds(self, file_bytes: int) -> float:
        """The longest that a file of this size with this head may be, in seconds."""
        return self._meter.bound(file_bytes)

    def length(self) -> AudioLength:
        """What was measured, once the file is complete."""
        return self._meter.finish()

    def held_seconds(self) -> float:
        """The length to hold a budget for, once the file is complete: what was measured.

        An estimate holds no less than the bound of a file of this size, for the provider may find all of that in it.
        """
        length = self.length()
        return length.seconds if length.measured else max(length.seconds, self.bound_seconds(self.file_bytes))


class Upload(NamedTuple):
    """A request that may be made: `fields` came before the file, `body` is the file from its first byte and then the
    fields behind it. `body` ends only if the form proved complete; otherwise it raises the APIError. To be closed.
    `complete` says that the file has been measured to its end.
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
    """The stage: which models there are, how large a file may be, where to keep one that comes before its model."""

    def __init__(self, models: tuple[Model, ...], max_file_bytes: int, spools: Spools) -> None:
        self._models = {model.id: model for model in models}
        self._max_file_bytes = max_file_bytes
        self._spools = spools

    async def read(self, request: InboundRequest, caller: Caller, lease: ConcurrencyLease) -> Upload:
        """The upload of this call, as soon as its model and its container are known."""
        items = _Items(request.body, FormReader(lease.boundary, self._max_file_bytes, lease.text))
        fields = await _fields_until_file(items)
        model = self._model_in(fields, request, caller)
        try:
            file = await _read_file_head(items, partial(self._spools.open, caller.name))
        except APIError as refusal:
            refusal.model = model.id if model else None
            raise
        if model is None:
            return await self._kept(request, caller, fields, file, items)
        bound = min(self._max_file_bytes, request.declared_bytes or self._max_file_bytes)
        body = _LiveBody(file, items)
        if request.progress.complete:
            body.measure()
        return Upload(
            model, fields, file.container, file.meter, bound, body, file.head.spool, request.progress.complete
        )

    async def _kept(
        self, request: InboundRequest, caller: Caller, fields: tuple[Field, ...], file: "_FileHead", items: "_Items"
    ) -> Upload:
        """The upload of a form that names its model behind its file, read to its end."""
        spool = file.head.spool or self._spools.open(caller.name)
        try:
            behind = await _spool_rest(file, items, spool)
            model = self._model_in(behind, request, caller)
            if model is None:
                raise errors.missing_parameter("model")
        except BaseException:
            spool.close()
            raise
        body = _replay_body(spool, behind)
        return Upload(model, fields, file.container, file.meter, spool.size, body, spool, complete=True)

    def _model_in(self, fields: tuple[Field, ...], request: InboundRequest, caller: Caller) -> Model | None:
        """The model that these fields name, checked; None if none of them is `model`."""
        asked = next((field.value for field in fields if field.name == "model"), None)
        return None if asked is None else check_model(asked, request.operation, caller, self._models)


def check_model(asked: bytes, operation: Operation, caller: Caller, models: Mapping[str, Model]) -> Model:
    """The model of the catalogue that the `model` field names; APIError if it is unknown, forbidden or unfit."""
    if not asked.strip():
        raise errors.missing_parameter("model")
    if len(asked) > MAX_MODEL_BYTES:
        raise errors.invalid_field("model", f"is longer than {MAX_MODEL_BYTES} bytes")
    name = asked.decode()
    model = models.get(name)
    if model is not None and operation.task in model.tasks and caller.may_use(name):
        return model
    raise _model_error(name, operation, caller, models)


def _model_error(name: str, operation: Operation, caller: Caller, models: Mapping[str, Model]) -> APIError:
    allowed = [each for each in models if caller.may_use(each)]
    if name not in models:
        return errors.model_not_found(name, allowed)
    if name in allowed:
        able = [each for each in allowed if operation.task in models[each].tasks]
        refusal = errors.unsupported_model(name, operation.description, able)
    else:
        refusal = errors.model_not_allowed(name, allowed)
    refusal.model = name
    return refusal


class _Items:
    """The items of a form, as its bytes arrive."""

    def __init__(self, body: AsyncIterator[bytes], form: FormReader) -> None:
        self._body = body
        self._form = form
        self._waiting: deque[Item] = deque()

    @property
    def waiting(self) -> Iterable[Item]:
        """What has been read and not been taken yet."""
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


class _Head:
    """A file's first bytes: up to HEAD_BYTES in memory; from there on all of them in a spool."""

    def __init__(self, open_spool: Callable[[], Spool]) -> None:
        self._open_spool = open_spool
        self._chunks: list[bytes] = []
        self._size = 0
        self.spool: Spool | None = None

    async def keep(self, data: bytes, *, last: bool) -> None:
        """Keep these bytes too; `last`: no more will follow, so that they need no spool."""
        self._chunks.append(data)
        self._size += len(data)
        if self.spool is None and (last or self._size <= HEAD_BYTES):
            return
        if self.spool is None:
            self.spool = self._open_spool()
        await self.spool.write(self.taken())

    def taken(self) -> bytes:
        """What is kept in memory, which from now on no longer is."""
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


class _FileHead(NamedTuple):
    """A file whose head has been read, and the field behind it if the head was all of it."""

    container: Container
    meter: UploadMeter
    head: _Head
    following: Field | None


async def _fields_until_file(items: _Items) -> tuple[Field, ...]:
    """The fields before the file. A form without a file is refused by its reader at the end."""
    fields: list[Field] = []
    async for item in items:
        if isinstance(item, FileBegin):
            return tuple(fields)
        assert isinstance(item, Field)
        fields.append(item)
    raise errors.missing_parameter("file")


async def _read_file_head(items: _Items, open_spool: Callable[[], Spool]) -> _FileHead:
    """Keep the file's first bytes until they tell the container; APIError if that is none of ours."""
    head = _Head(open_spool)
    try:
        verdict, following = await _recognised(items, head)
        if isinstance(verdict, Unrecognised):
            raise errors.invalid_file_format(FORMATS, verdict.kind, verdict.headless)
        meter = UploadMeter(verdict)
        await head.measure(meter)
    except BaseException:
        head.close()
        raise
    return _FileHead(verdict, meter, head, following)


async def _recognised(items: _Items, head: _Head) -> tuple[Container | Unrecognised, Field | None]:
    """What the file is, and the field behind it if its head was all of it."""
    sniffer, following, is_empty = Sniffer(), None, True
    while sniffer.verdict is None:
        item = await anext(items, None)
        if isinstance(item, bytes):
            is_empty = False
            sniffer.feed(item)
            await head.keep(item, last=sniffer.verdict is not None)
        else:
            assert not isinstance(item, FileBegin)
            following = item
            sniffer.finish()
    if is_empty:
        raise errors.empty_file()
    return sniffer.verdict, following


class _LiveBody:
    """The head that was kept, and from then on no longer is, then what still arrives."""

    def __init__(self, file: _FileHead, items: _Items) -> None:
        self._spool = file.head.spool
        self._replay = self._spool.replay() if self._spool is not None else None
        self._kept: list[bytes | Field] = [] if file.following is None else [file.following]
        if self._spool is None:
            self._kept.append(file.head.taken())
        self._items = items
        self._meter = file.meter
        self._measured = False

    def measure(self) -> None:
        """Measure the file, all of which has been read, before it is taken."""
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
        """Free the space in the spools: the upload may go on for long."""
        self._replay = None
        if self._spool is not None:
            self._spool.close()


async def _spool_rest(file: _FileHead, items: _Items, spool: Spool) -> tuple[Field, ...]:
    """Keep the file, and read the form to its end: the fields behind the file."""
    fields = [] if file.following is None else [file.following]
    if file.head.spool is None:
        await spool.write(file.head.taken())
    async for item in items:
        if isinstance(item, bytes):
            file.meter.feed(item)
            await spool.write(item)
        else:
            assert isinstance(item, Field)
            fields.append(item)
    return tuple(fields)


async def _replay_body(spool: Spool, behind: tuple[Field, ...]) -> AsyncIterator[bytes | Field]:
    async for chunk in spool.replay():
        yield chunk
    for field in behind:
        yield field
