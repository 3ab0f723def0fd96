"""The web server's certificate: the user's own, or one that the station makes for itself and renews.

A generated certificate vouches for nothing that a browser knows, so browsers warn once. What they show then is compared with the
fingerprint that ``station tls show`` prints on the station itself.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inspection.config import Config
from inspection.errors import ConfigError
from inspection.secrets import check_private, private_file

log = logging.getLogger(__name__)

# Apple's systems refuse certificates that are valid for longer, whoever made them.
_VALID = timedelta(days=820)
_RENEWED_BEFORE = timedelta(days=60)
# TLS 1.2 with forward secrecy and authenticated encryption alone; 1.3 has nothing else.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What people compare: ``fingerprint`` is the SHA-256 as browsers write it, ``names`` what it was made out to."""

    path: Path
    key_path: Path
    generated: bool
    fingerprint: str
    names: tuple[str, ...]
    not_after: datetime

    @property
    def days_left(self) -> int:
        return (self.not_after - datetime.now(UTC)).days


def generated_path(config: Config) -> Path:
    """Certificate and key in one file, so that one can never be renewed without the other."""
    return config.data_dir / "tls" / "station.pem"


def certificate_of(config: Config) -> Certificate | None:
    """The certificate as configured, made or renewed if the station makes its own; None where pages are served without.

    ConfigError says what to do if it cannot be used.
    """
    web = config.web
    if web.tls == "generated":
        path = generated_path(config)
        if _is_due(path):
            generate(path, config.station.name, web.host)
        return _read(path, path, generated=True)
    if web.tls_certificate is None or web.tls_key is None:
        return None
    return _read(web.tls_certificate, private_file(web.tls_key), generated=False)


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """What a server offers: TLS 1.2 with forward secrecy, or 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    load(context, certificate)
    return context


def load(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Connections from now on get this certificate; those that are open keep the former."""
    try:
        context.load_cert_chain(certificate.path, certificate.key_path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{certificate.key_path} is not the key of {certificate.path}: {error}; put both in their place"
        ) from error


def generate(path: Path, station: str, host: str) -> None:
    """Make a key and a certificate that it signs itself, made out to all names and addresses of this machine, in ``path``, 0600.

    Beside it lies the certificate alone, ``station.crt``, for machines that are to trust it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"inspection station {station}"[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of a plant differ.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(_general_names(names_of_this_machine(host))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace(path, private + public, 0o600)
        _replace(path.with_suffix(".crt"), public, 0o644)
    except OSError as error:
        raise ConfigError(
            f"no certificate can be made in {path.parent}: {error.strerror}; check its owner and the disk"
        ) from error
    log.info("made a certificate for the pages, %s", path)


def names_of_this_machine(host: str) -> tuple[str, ...]:
    """Host names and addresses under which the pages may be asked for; ``host`` is the address that is listened on."""
    own = socket.gethostname()
    addresses = {
        each.address.partition("%")[0]
        for found in psutil.net_if_addrs().values()
        for each in found
        if each.family in (socket.AF_INET, socket.AF_INET6)
    }
    found = {"localhost", own, socket.getfqdn(own), host, *addresses, "127.0.0.1", "::1"}
    return tuple(sorted(found - {"", "0.0.0.0", "::"}))  # noqa: S104


def _general_names(names: Iterable[str]) -> Iterator[x509.GeneralName]:
    for name in names:
        try:
            yield x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            if name.isascii():
                yield x509.DNSName(name)


def _is_due(path: Path) -> bool:
    """Is there none yet, or will it be over before anybody looks? One that cannot be read is not replaced: people trusted it."""
    try:
        return _certificate(path).not_valid_after_utc - datetime.now(UTC) < _RENEWED_BEFORE
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _read(path: Path, key_path: Path, generated: bool) -> Certificate:
    check_private(key_path)
    try:
        certificate = _certificate(path)
    except (OSError, ValueError) as error:
        mend = f"remove it, and a new one is made: {path}" if generated else "tls_certificate names a file in PEM"
        raise ConfigError(f"the certificate {path} cannot be used: {error}; {mend}") from error
    if certificate.not_valid_after_utc < datetime.now(UTC):
        # It is served all the same: pages that warn are worth more than none.
        log.error("the certificate %s is over since %s: put a new one there", path, certificate.not_valid_after_utc)
    try:
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = (*held.get_values_for_type(x509.DNSName), *(str(each) for each in held.get_values_for_type(x509.IPAddress)))
    except x509.ExtensionNotFound:
        names = ()
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificate(path, key_path, generated, fingerprint, names, certificate.not_valid_after_utc)


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by more than ``mode`` says, whatever the umask."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
