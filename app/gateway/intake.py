"""Reading the form as a stream: is the model known, allowed and fit for the task, and is the file audio?

    model, then file      the file's head is kept until its container is told; the rest flows on live
    file, then model      the file is kept in a spool until the model has been read, then replayed

Either way what leaves here is an `Upload` whose model and container are good, with not a byte sent upstream yet.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

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


@dataclass(frozen=True, slots=True)
class Upload:
    """A request that may be made: `fields` came before the file, `body` is the file from its first byte and then the
    fields behind it. `body` ends only if the form proved complete; otherwise it raises the Refusal.
    """

    model: Model
    fields: tuple[Field, ...]
    container: Container
    tally: AudioTally
    max_file_bytes: int
    body: AsyncIterator[bytes | Field]


class Intake:
    """The stage: which models there are, how large a file may be, where to keep one that comes before its model."""

    def __init__(self, models: tuple[Model, ...], max_file_bytes: int, spools: Spools) -> None:
        self._models = {model.id: model for model in models}
        self._max_file_bytes = max_file_bytes
        self._spools = spools

    @asynccontextmanager
    async def read(self, call: Call, caller: Caller, slot: Slot) -> AsyncIterator[Upload]:
        """The upload of this call; what it keeps is given back on every way out."""
        form = FormReader(slot.boundary, self._max_file_bytes)
        items = _items(call.body, form)
        spool = self._spools.open()
        try:
            yield await self._upload(call, caller, form, items, spool)
        finally:
            spool.close()
            await items.aclose()

    async def _upload(
        self, call: Call, caller: Caller, form: FormReader, items: AsyncIterator[Item], spool: Spool
    ) -> Upload:
        before = await _fields_until_file(items)
        model = self._model_in(before, call, caller)
        try:
            container, following = await _container(items, spool)
        except Refusal as refusal:
            refusal.model = model.id if model else None
            raise
        tally = AudioTally(container)
        async for chunk in spool.replay():
            tally.feed(chunk)
        if model is not None:
            bound = min(self._max_file_bytes, call.declared_bytes or self._max_file_bytes)
            return Upload(model, before, container, tally, bound, _live(spool, tally, following, items))
        behind = await _spool_rest(spool, tally, following, items)
        model = self._model_in(behind, call, caller)
        if model is None:
            raise errors.missing_parameter("model")
        return Upload(model, before, container, tally, tally.file_bytes, _kept(spool, behind))

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
    allowed = [each for each in models if caller.may_use(each)]
    if model is None:
        raise errors.model_not_found(name, allowed)
    if caller.may_use(name) and task in model.tasks:
        return model
    able = [each for each in allowed if task in models[each].tasks]
    refusal = (
        errors.unsupported_model(name, _TASK_WORDS[task], able)
        if caller.may_use(name)
        else errors.model_not_allowed(name, allowed)
    )
    refusal.model = name
    raise refusal


async def _items(body: AsyncIterator[bytes], form: FormReader) -> AsyncGenerator[Item, None]:
    async for data in body:
        for item in form.feed(data):
            yield item
    form.finish()


async def _fields_until_file(items: AsyncIterator[Item]) -> tuple[Field, ...]:
    """The fields before the file. A form without a file is refused by its reader at the end."""
    fields: list[Field] = []
    async for item in items:
        if isinstance(item, FileBegin):
            return tuple(fields)
        assert isinstance(item, Field)
        fields.append(item)
    raise errors.missing_parameter("file")


async def _container(items: AsyncIterator[Item], spool: Spool) -> tuple[Container, Field | None]:
    """Keep the file's first bytes until they tell the container; also the field that ended a very short file."""
    sniffer, following = Sniffer(), None
    while sniffer.verdict is None:
        item = await anext(items, None)
        if isinstance(item, bytes):
            await spool.write(item)
            sniffer.feed(item)
        else:
            assert not isinstance(item, FileBegin)
            following = item
            sniffer.finish()
            break
    if spool.size == 0:
        raise errors.empty_file()
    if sniffer.verdict is None or isinstance(sniffer.verdict, Unrecognised):
        raise errors.invalid_file_format(FORMATS)
    return sniffer.verdict, following


async def _live(
    spool: Spool, tally: AudioTally, following: Field | None, items: AsyncIterator[Item]
) -> AsyncIterator[bytes | Field]:
    """The head that was kept, then what still arrives."""
    async for chunk in spool.replay():
        yield chunk
    if following is not None:
        yield following
    async for item in items:
        if isinstance(item, bytes):
            tally.feed(item)
        assert not isinstance(item, FileBegin)
        yield item


async def _spool_rest(
    spool: Spool, tally: AudioTally, following: Field | None, items: AsyncIterator[Item]
) -> tuple[Field, ...]:
    """Keep the rest of the file, and read the form to its end: the fields behind the file."""
    fields = [following] if following is not None else []
    async for item in items:
        if isinstance(item, bytes):
            tally.feed(item)
            await spool.write(item)
        else:
            assert isinstance(item, Field)
            fields.append(item)
    return tuple(fields)


async def _kept(spool: Spool, behind: tuple[Field, ...]) -> AsyncIterator[bytes | Field]:
    async for chunk in spool.replay():
        yield chunk
    for field in behind:
        yield field
