"""Ways to split the same bytes."""

from collections.abc import Iterator

_CUT_EVERYWHERE = 2_000
_CUTS_OF_A_LONG_BODY = 60


def splits(data: bytes) -> Iterator[tuple[bytes, ...]]:
    """Unsplit, byte by byte, and split in two at every position, or at evenly spaced ones of a long body."""
    yield (data,)
    yield tuple(data[at : at + 1] for at in range(len(data)))
    step = 1 if len(data) <= _CUT_EVERYWHERE else len(data) // _CUTS_OF_A_LONG_BODY
    for at in range(1, len(data), step):
        yield data[:at], data[at:]
