"""A self-signed certificate for 127.0.0.1, for a scripted upstream behind TLS."""

import ssl
import subprocess
from pathlib import Path


def certificate(folder: Path, address: str = "127.0.0.1") -> Path:
    """Creates a PEM file with a certificate and its key; returns its path. Needs openssl (apt-get install openssl)."""
    file, key = folder / "certificate.pem", folder / "key.pem"
    names = ["-addext", f"subjectAltName=IP:{address}", "-addext", "basicConstraints=critical,CA:FALSE"]
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-days", "2"]
    command = ["openssl", "req", "-x509", "-subj", "/CN=scripted", *new, *names, "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file


def serving(file: Path) -> ssl.SSLContext:
    """Returns the TLS context of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
