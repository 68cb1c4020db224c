"""The ways in which a provider may want to be asked: as it is set, then with one thing changed, then with more.

What makes the first change that works is at fault. Nothing but a success is billed, and the first success is the last
request.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import product

from app.adapters.doctor.finding import Finding
from app.config import Model, Upstream
from app.operations import TRANSCRIPTION

CHECK = "transcribe"
KEY_REFUSED = frozenset({401, 403})

_ADVICE = {
    402: "the provider's account has no credit: top it up",
    429: "the provider limits this key: try again later",
    None: "the provider cannot be reached, or gives no answer: see the lines above",
}
_PATHS = tuple(path.removeprefix("/v1") for path in TRANSCRIPTION.paths)
_SCHEMES = ("Bearer", "none")
_FRAMINGS = ("chunked", "length")


@dataclass(frozen=True, slots=True)
class Probe:
    """One way to ask for a transcription."""

    path: str
    auth_scheme: str
    framing: str
    model: Model

    def changes(self, other: "Probe") -> dict[str, str]:
        """What is at fault about this way if the other works, and what to do about it."""
        found = {
            "path": (self.path != other.path, f'set transcriptions_path = "{other.path}" in [[upstreams]]'),
            "auth scheme": (
                self.auth_scheme != other.auth_scheme,
                f'set auth_scheme = "{other.auth_scheme}" in [[upstreams]]',
            ),
            "framing": (self.framing != other.framing, f'set framing = "{other.framing}" in [[upstreams]]'),
            "model": (
                self.model != other.model,
                f"take {self.model.id} out of [[models]], or tell the provider's name for it there in upstream_model",
            ),
        }
        return {fault: advice for fault, (differs, advice) in found.items() if differs}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What came of asking in one way: the status, None without an answer; the transcript or the provider's words."""

    way: Probe
    status: int | None
    good: bool
    told: str

    @property
    def summary(self) -> str:
        return f"{self.status or 'no answer'}: {self.told}"


Ask = Callable[[Probe], Awaitable[ProbeResult]]


def probes(upstream: Upstream, model: Model, models: Sequence[Model]) -> list[Probe]:
    """Every way, the one that is set first, then by how many things are changed."""
    prefix = "" if upstream.base_url.endswith("/v1") else "/v1"
    paths = dict.fromkeys((upstream.transcriptions_path, *(prefix + path for path in _PATHS)))
    schemes = dict.fromkeys((upstream.auth_scheme, *_SCHEMES))
    framings = dict.fromkeys((upstream.framing, *_FRAMINGS))
    able = dict.fromkeys(each.id for each in (model, *models) if TRANSCRIPTION.task in each.tasks)
    named = {each.id: each for each in (*models, model)}
    every = [
        Probe(path, scheme, framing, named[name])
        for path, scheme, framing, name in product(paths, schemes, framings, able)
    ]
    return sorted(every, key=lambda way: len(every[0].changes(way)))


async def diagnose(every: Sequence[Probe], ask: Ask) -> Finding:
    """What works, or what is at fault. It ends where no other way can help: no answer, no credit, a key refused."""
    attempts = [await ask(every[0])]
    while not attempts[-1].good and (way := _next(every, attempts)) is not None:
        attempts.append(await ask(way))
    first, last = attempts[0], attempts[-1]
    if first.good:
        return Finding(CHECK, first.told)
    return _at_fault(first, last) if last.good else _hopeless(attempts)


def _next(every: Sequence[Probe], attempts: Sequence[ProbeResult]) -> Probe | None:
    """The way to try after these; None if no other can help."""
    if attempts[-1].status in _ADVICE or len(attempts) == len(every):
        return None
    way = every[len(attempts)]
    return None if len(every[0].changes(way)) > 1 and _key_is_refused(attempts) else way


def _key_is_refused(attempts: Sequence[ProbeResult]) -> bool:
    return all(attempt.status in KEY_REFUSED for attempt in attempts)


def _at_fault(first: ProbeResult, good: ProbeResult) -> Finding:
    changes = first.way.changes(good.way)
    told = f"fails as it is set ({first.summary}), works otherwise; at fault: {', '.join(changes)}"
    return Finding(CHECK, told, "; ".join(changes.values()))


def _hopeless(attempts: Sequence[ProbeResult]) -> Finding:
    first, last = attempts[0], attempts[-1]
    if last.status in _ADVICE:
        return Finding(CHECK, last.summary, _ADVICE[last.status])
    if _key_is_refused(attempts):
        return Finding(CHECK, first.summary, "the provider refuses the key in every way: put a good one in its place")
    told = f"{first.summary}; {len(attempts) - 1} other ways fail as well"
    return Finding(CHECK, told, "check base_url; where it is right, ask the provider, with this line")
