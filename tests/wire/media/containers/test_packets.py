import pytest

from app.wire.media.containers.packets import opus_samples, sum_opus_samples, vorbis_samples


@pytest.mark.parametrize(
    ("head", "milliseconds"),
    [
        (b"\x00", 10),
        (b"\x18", 60),
        (b"\x60", 10),
        (b"\x78", 20),
        (b"\x80", 2.5),
        (b"\xf8", 20),
        (b"\xf9", 40),
        (b"\xfa", 40),
        (b"\xfb\x06", 120),
        (b"\xfb\xc3", 60),
        (b"\xfb", 0),
        (b"", 0),
    ],
)
def test_opus_packets_last_as_rfc_6716_specifies(head: bytes, milliseconds: float) -> None:
    assert opus_samples(head) == 48 * milliseconds
    assert not head or sum_opus_samples(b"x" + head, [1]) == 48 * milliseconds


def test_opus_packets_of_a_page_add_up() -> None:
    assert sum_opus_samples(b"\xf8..\xfb\x03.\x80", [0, 3, 6]) == 960 + 2880 + 120


def test_vorbis_packets_last_half_of_their_block() -> None:
    table = vorbis_samples(bytes(28) + b"\xb8")  # blocks of 256 and 2,048
    assert (table[0], table[2], table[1]) == (128, 1024, 0)
