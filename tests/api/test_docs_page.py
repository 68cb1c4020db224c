"""The vendored files of Swagger UI are the ones that the page names."""

import hashlib

from app.api.docs_page import FOLDER, SHA256


def test_the_vendored_files_have_the_checksums_of_their_release() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.iterdir()}
    assert found == SHA256
