import pytest

from app.wire.media import Container


@pytest.mark.parametrize("container", list(Container))
def test_every_container_has_its_figures(container: Container) -> None:
    assert container.media_type.split("/")[0] in ("audio", "video")
    assert 1_000 <= container.lowest_bit_rate < container.nominal_bit_rate
