"""How much audio has arrived."""

from app.wire.media import AudioLength, AudioMeter, Container


class UploadMeter:
    """Counts a file's bytes and measures its length as they pass."""

    def __init__(self, container: Container) -> None:
        self._meter = AudioMeter(container)
        self.file_bytes = 0

    def feed(self, data: bytes) -> None:
        self.file_bytes += len(data)
        self._meter.feed(data)

    def bound_seconds(self, file_bytes: int) -> float:
        """Returns the longest that a file of this size with this head may be, in seconds."""
        return self._meter.bound(file_bytes)

    def length(self) -> AudioLength:
        """Returns the measured length, once the file is complete."""
        return self._meter.finish()

    def held_seconds(self) -> float:
        """Returns the length to hold a budget for, once the file is complete: the measured one.

        If the length is an estimate, the result is no less than the bound of a file of this size, because the upstream
        may find that much audio in it.
        """
        length = self.length()
        return length.seconds if length.measured else max(length.seconds, self.bound_seconds(self.file_bytes))
