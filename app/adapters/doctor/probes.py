"""Finds the setting that makes a transcription request fail, by sending variants of the request.

The first probe is the request as the settings have it. The next ones change one property, the later ones more. The
properties that the first successful probe changes are at fault. The provider bills only successes, and no request
follows the first success.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import product

from app.adapters.doctor.finding import Finding
from app.config import Model, Upstream

CHECK = "transcribe"
KEY_REFUSED = frozenset({401, 403})

# Statuses after which no other probe can succeed; None means that no response came.
_FINAL_ADVICE = {
    402: "the provider's account has no credit: top it up",
    429: "the provider limits this key: try again later",
    None: "the provider cannot be reached, or does not respond: see the lines above",
}
_PATHS = ("/audio/transcriptions", "/speech/transcriptions")
_SCHEMES = ("Bearer", "none")
_FRAMINGS = ("chunked", "length")


@dataclass(frozen=True, slots=True)
class Probe:
    """One variant of a transcription request."""

    path: str
    auth_scheme: str
    framing: str
    model: Model

    def changes(self, other: "Probe") -> dict[str, str]:
        """Returns the properties in which the other probe differs, each with the advice if the other one succeeds."""
        advice = {
            "path": (self.path != other.path, f'set transcriptions_path = "{other.path}" in [[upstreams]]'),
            "auth scheme": (
                self.auth_scheme != other.auth_scheme,
                f'set auth_scheme = "{other.auth_scheme}" in [[upstreams]]',
            ),
            "framing": (self.framing != other.framing, f'set framing = "{other.framing}" in [[upstreams]]'),
            "model": (
                self.model != other.model,
                f"remove {self.model.id} from [[models]], or set its upstream_model to the provider's name for it",
            ),
        }
        return {name: text for name, (differs, text) in advice.items() if differs}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of one probe. `status` is None if no response came; `message` has the transcript or the error."""

    probe: Probe
    status: int | None
    ok: bool
    message: str

    @property
    def summary(self) -> str:
        return f"{self.status or 'no response'}: {self.message}"


Send = Callable[[Probe], Awaitable[ProbeResult]]


def probes(upstream: Upstream, model: Model, models: Sequence[Model]) -> list[Probe]:
    """Returns every variant: first the one in the settings, then those with more and more changes."""
    prefix = "" if upstream.base_url.endswith("/v1") else "/v1"
    paths = dict.fromkeys((upstream.transcriptions_path, *(prefix + path for path in _PATHS)))
    schemes = dict.fromkeys((upstream.auth_scheme, *_SCHEMES))
    framings = dict.fromkeys((upstream.framing, *_FRAMINGS))
    model_ids = dict.fromkeys(candidate.id for candidate in (model, *models) if "transcribe" in candidate.tasks)
    by_id = {candidate.id: candidate for candidate in (*models, model)}
    variants = [
        Probe(path, scheme, framing, by_id[model_id])
        for path, scheme, framing, model_id in product(paths, schemes, framings, model_ids)
    ]
    return sorted(variants, key=lambda probe: len(variants[0].changes(probe)))


async def diagnose(variants: Sequence[Probe], send: Send) -> Finding:
    """Sends the variants in turn and returns what works, or what is at fault.

    It stops at the first success, and where no other variant can succeed: no response, no credit, a refused key.
    """
    results = [await send(variants[0])]
    while not results[-1].ok and (probe := _next_probe(variants, results)) is not None:
        results.append(await send(probe))
    first, last = results[0], results[-1]
    if first.ok:
        return Finding(CHECK, first.message)
    return _fault(first, last) if last.ok else _failure(results)


def _next_probe(variants: Sequence[Probe], results: Sequence[ProbeResult]) -> Probe | None:
    """Returns the probe to send after these results; None if no other can succeed."""
    if results[-1].status in _FINAL_ADVICE or len(results) == len(variants):
        return None
    probe = variants[len(results)]
    return None if len(variants[0].changes(probe)) > 1 and _key_is_refused(results) else probe


def _key_is_refused(results: Sequence[ProbeResult]) -> bool:
    return all(result.status in KEY_REFUSED for result in results)


def _fault(first: ProbeResult, success: ProbeResult) -> Finding:
    changes = first.probe.changes(success.probe)
    message = f"fails with these settings ({first.summary}), works with others; at fault: {', '.join(changes)}"
    return Finding(CHECK, message, "; ".join(changes.values()))


def _failure(results: Sequence[ProbeResult]) -> Finding:
    first, last = results[0], results[-1]
    if last.status in _FINAL_ADVICE:
        return Finding(CHECK, last.summary, _FINAL_ADVICE[last.status])
    if _key_is_refused(results):
        return Finding(CHECK, first.summary, "the provider refuses the key in every variant: set a valid key")
    message = f"{first.summary}; {len(results) - 1} other variants fail as well"
    return Finding(CHECK, message, "check base_url; if it is right, send this line to the provider")
