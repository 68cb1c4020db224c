"""Reading the form as a stream: is the model known, allowed and fit for the task, and is the file audio?

    model, then file      the file's head is kept until it tells the container; the rest flows on live
    file, then model      the file is kept in a spool until the model has been read, then replayed

Either way what leaves here is an `Upload` whose model and container are good, with not a byte sent upstream yet.
"""

from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, Protocol, Self

from app import errors
from app.config import Model
from app.errors import Refusal
from app.gateway.auth import Caller
from app.gateway.call import Call
from app.gateway.entry import Slot
from app.gateway.form import Field, FileBegin, FormReader, Item
from app.wire.container import FORMATS, AudioLength, AudioMeter, Container, Sniffer, Unrecognised

MAX_MODEL_BYTES = 256

_TASK_WORDS = {"transcribe": "transcribe audio", "translate": "translate audio"}


class Spool(Protocol):
    """Bytes kept outside of the process's memory, beyond a small size. `write` may refuse when all spools are full."""

    size: int

    async def write(self, data: bytes) -> None: ...
    def replay(self) -> AsyncIterator[bytes]: ...
    def close(self) -> None: ...


class Spools(Protocol):
    def open(self) -> Spool: ...


class AudioTally:
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


class Upload(NamedTuple):
    """A request that may be made: `fields` came before the file, `body` is the file from its first byte and then the
    fields behind it. `body` ends only if the form proved complete; otherwise it raises the Refusal. To be closed.
    """

    model: Model
    fields: tuple[Field, ...]
    container: Container
    tally: AudioTally
    max_file_bytes: int
    body: AsyncIterator[bytes | Field]
    spool: Spool | None = None

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()


class Intake:
    """The stage: which models there are, how large a file may be, where to keep one that comes before its model."""

    def __init__(self, models: tuple[Model, ...], max_file_bytes: int, spools: Spools) -> None:
        self._models = {model.id: model for model in models}
        self._max_file_bytes = max_file_bytes
        self._spools = spools

    async def read(self, call: Call, caller: Caller, slot: Slot) -> Upload:
        """The upload of this call, as soon as its model and its container are known."""
        items = _Items(call.body, FormReader(slot.boundary, self._max_file_bytes))
        fields = await _fields_until_file(items)
        model = self._model_in(fields, call, caller)
        try:
            file = await _begun(items)
        except Refusal as refusal:
            refusal.model = model.id if model else None
            raise
        if model is None:
            return await self._kept(call, caller, fields, file, items)
        bound = min(self._max_file_bytes, call.declared_bytes or self._max_file_bytes)
        return Upload(model, fields, file.container, file.tally, bound, _Live(file, items))

    async def _kept(
        self, call: Call, caller: Caller, fields: tuple[Field, ...], file: "_BegunFile", items: "_Items"
    ) -> Upload:
        """The upload of a form that names its model behind its file, read to its end."""
        spool = self._spools.open()
        try:
            behind = await _spool_rest(file, items, spool)
            model = self._model_in(behind, call, caller)
            if model is None:
                raise errors.missing_parameter("model")
        except BaseException:
            spool.close()
            raise
        return Upload(model, fields, file.container, file.tally, spool.size, _replayed(spool, behind), spool)

    def _model_in(self, fields: tuple[Field, ...], call: Call, caller: Caller) -> Model | None:
        """The model that these fields name, checked; None if none of them is `model`."""
        asked = next((field.value for field in fields if field.name == "model"), None)
        return None if asked is None else check_model(asked, call.task, caller, self._models)


def check_model(asked: bytes, task: str, caller: Caller, models: Mapping[str, Model]) -> Model:
    """The model of the catalogue that the `model` field names; Refusal if it is unknown, forbidden or unfit."""
    if not asked.strip():
        raise errors.missing_parameter("model")
    if len(asked) > MAX_MODEL_BYTES:
        raise errors.invalid_field("model", f"is longer than {MAX_MODEL_BYTES} bytes")
    name = asked.decode()
    model = models.get(name)
    if model is not None and task in model.tasks and caller.may_use(name):
        return model
    raise _unfit(name, task, caller, models)


def _unfit(name: str, task: str, caller: Caller, models: Mapping[str, Model]) -> Refusal:
    allowed = [each for each in models if caller.may_use(each)]
    if name not in models:
        return errors.model_not_found(name, allowed)
    if name in allowed:
        able = [each for each in allowed if task in models[each].tasks]
        refusal = errors.unsupported_model(name, _TASK_WORDS[task], able)
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


class _BegunFile(NamedTuple):
    """A file whose head has been read, and the field behind it if the head was all of it."""

    container: Container
    tally: AudioTally
    head: bytes
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


async def _begun(items: _Items) -> _BegunFile:
    """Keep the file's first bytes until they tell the container; Refusal if that is none of ours."""
    sniffer, head, following = Sniffer(), b"", None
    while sniffer.verdict is None:
        item = await anext(items, None)
        if isinstance(item, bytes):
            head += item
            sniffer.feed(item)
        else:
            assert not isinstance(item, FileBegin)
            following = item
            sniffer.finish()
    if not head:
        raise errors.empty_file()
    if isinstance(sniffer.verdict, Unrecognised):
        raise errors.invalid_file_format(FORMATS, sniffer.verdict.kind)
    tally = AudioTally(sniffer.verdict)
    tally.feed(head)
    return _BegunFile(sniffer.verdict, tally, head, following)


class _Live:
    """The head that was kept, and from then on no longer is, then what still arrives."""

    def __init__(self, file: _BegunFile, items: _Items) -> None:
        self._kept: list[bytes | Field] = [file.head] if file.following is None else [file.following, file.head]
        self._items = items
        self._tally = file.tally

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | Field:
        if self._kept:
            return self._kept.pop()
        item = await anext(self._items)
        if isinstance(item, bytes):
            self._tally.feed(item)
        assert not isinstance(item, FileBegin)
        return item


async def _spool_rest(file: _BegunFile, items: _Items, spool: Spool) -> tuple[Field, ...]:
    """Keep the file, and read the form to its end: the fields behind the file."""
    fields = [] if file.following is None else [file.following]
    await spool.write(file.head)
    async for item in items:
        if isinstance(item, bytes):
            file.tally.feed(item)
            await spool.write(item)
        else:
            assert isinstance(item, Field)
            fields.append(item)
    return tuple(fields)


async def _replayed(spool: Spool, behind: tuple[Field, ...]) -> AsyncIterator[bytes | Field]:
    async for chunk in spool.replay():
        yield chunk
    for field in behind:
        yield field
