import pytest

from app.errors import APIError
from app.gateway.admission_control import FORM_SLACK_BYTES, AdmissionControl
from app.gateway.caller import Caller
from app.policy.caller_policy import CallerPolicy
from app.wire.headers import Header
from tests.gateway.unread import FORM, MAX_FILE_BYTES, admission_control_for, request

ALICE = Caller("alice", "key_1", CallerPolicy())


def refused(admission_control: AdmissionControl, *fields: Header) -> APIError:
    with pytest.raises(APIError) as caught, admission_control.lease(request(*fields), ALICE):
        pass
    assert admission_control.in_flight == 0
    return caught.value


def test_a_lease_has_the_boundary_of_the_form() -> None:
    admission_control = admission_control_for(1)
    with admission_control.lease(request((b"Content-Type", b' Multipart/Form-Data; boundary="a b"')), ALICE) as lease:
        assert lease.boundary == "a b"
        assert admission_control.in_flight == 1
    assert admission_control.in_flight == 0


def test_a_lease_is_released_when_the_request_fails() -> None:
    admission_control = admission_control_for(1)
    with pytest.raises(LookupError), admission_control.lease(request(FORM), ALICE):
        raise LookupError
    assert admission_control.in_flight == 0


def test_a_request_above_the_maximum_is_refused() -> None:
    admission_control = admission_control_for(2)
    with admission_control.lease(request(FORM), ALICE), admission_control.lease(request(FORM), ALICE):
        with pytest.raises(APIError) as caught, admission_control.lease(request(FORM), ALICE):
            pass
        assert admission_control.in_flight == 2
    assert (caught.value.status, caught.value.code) == (503, "overloaded")
    assert dict(caught.value.all_headers())[b"retry-after"] == b"1"
    with admission_control.lease(request(FORM), ALICE):
        assert admission_control.in_flight == 1


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary=""',
        b"multipart/form-data; boundary=a; boundary=b",
        b"multipart/form-data; boundary=" + b"a" * 71,
        b'multipart/form-data; boundary="a@b"',
        b'multipart/form-data; boundary="a\xff"',
    ],
)
def test_a_form_without_a_valid_boundary_is_refused(content_type: bytes) -> None:
    error = refused(admission_control_for(1), (b"content-type", content_type))
    assert (error.status, error.code) == (400, "invalid_multipart")


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ((b"content-type", b""),),
        ((b"content-type", b"application/json"),),
        ((b"content-type", b"application/x-www-form-urlencoded"),),
        ((b"content-type", b"multipart/mixed; boundary=a"),),
        ((b"content-type", b"multipart/form-database; boundary=a"),),
    ],
)
def test_a_body_that_is_not_a_form_is_refused(fields: tuple[Header, ...]) -> None:
    error = refused(admission_control_for(1), *fields)
    assert (error.status, error.code) == (415, "invalid_content_type")


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, gzip", b"x"])
def test_a_compressed_body_is_refused(encoding: bytes) -> None:
    error = refused(admission_control_for(1), FORM, (b"content-encoding", encoding))
    assert (error.status, error.code) == (415, "unsupported_content_encoding")


def test_the_identity_encoding_passes() -> None:
    with admission_control_for(1).lease(request(FORM, (b"content-encoding", b" Identity")), ALICE) as lease:
        assert lease.boundary == "abc"


def test_a_declared_size_above_every_valid_form_is_refused() -> None:
    largest = MAX_FILE_BYTES + FORM_SLACK_BYTES
    error = refused(admission_control_for(1), FORM, (b"content-length", b"%d" % (largest + 1)))
    assert (error.status, error.code, error.param) == (413, "request_too_large", "file")
    with admission_control_for(1).lease(request(FORM, (b"content-length", b"%d" % largest)), ALICE) as lease:
        assert lease.boundary == "abc"
