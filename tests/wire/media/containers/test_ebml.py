import pytest

from app.wire.media.containers.webm.ebml import parse_element


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xa3\x84", (0xA3, 4, 2)),
        (b"\xa3\x40\x02", (0xA3, 2, 3)),
        (b"\xa3\xff", (0xA3, None, 2)),
        (b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff", (0x1F43B675, None, 12)),
        (b"\xa3", None),
        (b"\xa3\x40", None),
        (b"\x00\x81", None),
        (b"\x08\x81\x81\x81\x81\x81", None),
        (b"", None),
    ],
)
def test_element(head: bytes, expected: tuple[int, int | None, int] | None) -> None:
    assert parse_element(head) == expected
