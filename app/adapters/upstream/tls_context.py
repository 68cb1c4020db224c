"""The certificate authorities that TLS to the upstream trusts."""

import ssl
from contextlib import suppress

from app.config import InvalidConfig, Upstream


def client_tls_context(settings: Upstream) -> ssl.SSLContext:
    """Returns a TLS context that trusts the settings' ca_file, or else the system's authorities.

    Raises InvalidConfig if the ca_file cannot be used. Python's default context would let the variables SSL_CERT_FILE
    and SSL_CERT_DIR decide which server gets the provider's key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except OSError as error:
            raise InvalidConfig(f"upstreams.{settings.name}: {settings.ca_file} is no ca_file: {error}") from None
        return context
    system = ssl.get_default_verify_paths()
    for file, folder in ((system.openssl_cafile, None), (None, system.openssl_capath)):
        with suppress(OSError):
            context.load_verify_locations(file, folder)
    return context
