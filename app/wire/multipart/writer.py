"""A form of our own, piece by piece."""


class FormWriter:
    """Writes a form of our own. The boundary must occur in no part: nobody who writes one may be able to tell it."""

    def __init__(self, boundary: str) -> None:
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._open = f"--{boundary}\r\nContent-Disposition: form-data; name=".encode()
        self._close = f"--{boundary}--\r\n".encode()

    def field(self, name: str, value: bytes) -> bytes:
        """A whole text field."""
        return b'%b"%b"\r\n\r\n%b\r\n' % (self._open, _quoted(name), value)

    def file_head(self, filename: str, media_type: str) -> bytes:
        """What comes before the bytes of `file`."""
        return b'%b"file"; filename="%b"\r\nContent-Type: %b\r\n\r\n' % (
            self._open,
            filename.encode(),
            media_type.encode(),
        )

    def file_end(self) -> bytes:
        return b"\r\n"

    def close(self) -> bytes:
        """The closing boundary: without it no upstream has a complete request."""
        return self._close


def _quoted(name: str) -> bytes:
    """A field's name as browsers write it (WHATWG HTML, multipart/form-data encoding algorithm), but with backslashes
    escaped as httpx does: most readers undo that, and a lone one at the end would swallow the closing quote.
    """
    return name.replace("\\", "\\\\").replace('"', "%22").encode()
