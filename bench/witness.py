"""An upstream that records when it notices a disconnect. It responds at once, except to an upload that it watches.

The connection of a watched upload stays open until the gateway closes it or the patience ends. Then the upstream
finishes its response, like a slow provider, for gateways that still read.
"""

import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_READ_BYTES = 65_536
_EVENT_SECONDS = 0.020
_MODELS = b'{"object":"list","data":[{"id":"gpt-4o-transcribe","object":"model"}]}'
_ANSWER = (
    b'{"text":"%d bytes","usage":{"type":"tokens","input_tokens":14,'
    b'"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45,"total_tokens":59}}'
)
_EVENT = b'data: {"type":"transcript.text.delta","delta":"word "}\n\n'
_LAST_EVENT = (
    b'data: {"type":"transcript.text.done","text":"end=0 ","usage":{"type":"tokens","input_tokens":14,'
    b'"output_tokens":45,"total_tokens":59}}\n\n'
)


class Moment(Enum):
    """When the caller disconnects."""

    UPLOAD = "upload"
    WAITING = "waiting"
    SSE = "sse"


class Cut(Exception):
    """The connection ended before the body did."""


@dataclass
class Watch:
    """One watched upload. `started` is set at its moment, `noticed` at the disconnect. `noticed_at` is monotonic."""

    moment: Moment
    patience: float
    started: threading.Event = field(default_factory=threading.Event)
    noticed: threading.Event = field(default_factory=threading.Event)
    noticed_at: float = 0

    def notice(self) -> None:
        self.noticed_at = time.monotonic()
        self.noticed.set()


class Witness(ThreadingHTTPServer):
    """Serves on loopback from threads, until its context ends."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Provider)
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def watch(self, moment: Moment, patience: float) -> Watch:
        """Watches the next upload, for `patience` seconds at most."""
        self._watch = Watch(moment, patience)
        return self._watch

    def take_watch(self) -> Watch | None:
        """Returns the watch to the first upload that arrives, None to later ones."""
        watch, self._watch = self._watch, None
        return watch

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores errors: a gateway may disconnect at any time."""


class _Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Witness

    def do_GET(self) -> None:
        self._answer(_MODELS)

    def do_POST(self) -> None:
        watch = self.server.take_watch()
        try:
            received = self._receive(watch)
        except (Cut, OSError):
            self.close_connection = True
            if watch:
                watch.notice()
            return
        if watch is None or watch.moment is Moment.UPLOAD:
            self._answer(_ANSWER % received)
        elif watch.moment is Moment.WAITING:
            self._wait(watch, received)
        else:
            self._stream(watch)

    def _receive(self, watch: Watch | None) -> int:
        received = 0
        for piece in self._body():
            received += len(piece)
            if watch and watch.moment is Moment.UPLOAD:
                watch.started.set()
        return received

    def _body(self) -> Iterator[bytes]:
        """Yields the body as it arrives. Raises Cut if it is incomplete."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            yield from self._exactly(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self._line(), 16):
            yield from self._exactly(size)
            self._line()
        while self._line().strip():
            pass

    def _line(self) -> bytes:
        line = self.rfile.readline(_READ_BYTES)
        if not line.endswith(b"\n"):
            raise Cut
        return line

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.rfile.read1(min(size, _READ_BYTES))
            if not piece:
                raise Cut
            size -= len(piece)
            yield piece

    def _wait(self, watch: Watch, received: int) -> None:
        watch.started.set()
        if self._disconnects(watch.patience):
            watch.notice()
        else:
            self._answer(_ANSWER % received)

    def _stream(self, watch: Watch) -> None:
        """Sends events until the gateway disconnects or the patience ends, and then the last event."""
        end = time.monotonic() + watch.patience
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while time.monotonic() < end:
                self._chunk(_EVENT)
                watch.started.set()
                if self._disconnects(_EVENT_SECONDS):
                    return watch.notice()
            self._chunk(_LAST_EVENT)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
            watch.notice()

    def _disconnects(self, seconds: float) -> bool:
        """Returns whether the gateway closes the connection within this time. It has nothing else to send."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        self.close_connection = bool(readable)
        return self.close_connection

    def _chunk(self, event: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Writes no log."""
