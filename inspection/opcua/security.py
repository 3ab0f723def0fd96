"""Who may connect: the station's own certificate, trusted client certificates, and users with their passwords.

Fails closed: no users file means no user, an empty directory of trusted certificates means that nobody is trusted.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inspection.commands import check_name
from inspection.errors import ConfigError

log = logging.getLogger(__name__)

MIN_PASSWORD = 12
# scrypt, RFC 7914: 16 MiB and some 40 ms for each try.
_COST = {"n": 2**14, "r": 8, "p": 1}
_YEARS = 10
_REJECTED_KEPT = 20
# Wrong passwords in a row after which a name is refused for some time, also with the right one.
_TRIES, _LOCKED_S = 5, 60.0


@dataclass(frozen=True, slots=True)
class Identity:
    """The station's own certificate (DER) and key (PEM), and the application URI that the certificate names."""

    certificate: bytes
    key: bytes
    uri: str


def own_identity(directory: Path, station: str) -> Identity:
    """The identity in ``directory``, made there if there is none; the key is readable by the station's user alone."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_path, certificate_path = directory / "own-key.pem", directory / "own.der"
    if not certificate_path.exists():
        _make_identity(key_path, certificate_path, station)
    try:
        if key_path.stat().st_mode & 0o077:
            raise ConfigError(f"{key_path} can be read by others: chmod 600 {key_path}, or remove it and {certificate_path.name}")
        key, der = key_path.read_bytes(), certificate_path.read_bytes()
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uri = names.get_values_for_type(x509.UniformResourceIdentifier)[0]
        matches = serialization.load_pem_private_key(key, None).public_key() == certificate.public_key()
    except (OSError, ValueError, TypeError, IndexError, x509.ExtensionNotFound) as error:
        raise ConfigError(f"{certificate_path} and {key_path.name} cannot be used ({error}); remove both for new ones") from error
    if not matches:
        raise ConfigError(f"{key_path} is not the key of {certificate_path}; remove both for new ones")
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise ConfigError(f"{certificate_path} has expired; remove it and {key_path.name} for new ones, which clients must trust")
    return Identity(der, key, uri)


def _make_identity(key_path: Path, certificate_path: Path, station: str) -> None:
    host = socket.gethostname()
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"inspection station {station}"[:64])])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("key_agreement", "crl_sign", "encipher_only", "decipher_only"), False
    ) | dict.fromkeys(
        # Self-signed: it signs itself (OPC 10000-6, 6.2.2).
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_cert_sign"), True
    )  # fmt: skip
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"urn:{host}:inspection-station:{station}"),
        x509.DNSName(host),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_path.unlink(missing_ok=True)
    _write_private(key_path, pem)
    fresh = certificate_path.with_suffix(".new")
    fresh.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    # Last, so that a certificate never lacks its key.
    fresh.replace(certificate_path)
    log.info("made a certificate for this server, %s; clients must trust it", certificate_path)


def _write_private(path: Path, content: bytes) -> None:
    """A new file of mode 0600, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


@dataclass(frozen=True)
class Trust:
    """The clients that may connect: exactly the certificates in ``directory`` (.der, .crt, .pem), read anew each time.

    Others are kept in ``rejected``, so that an administrator can move them over.
    """

    directory: Path
    rejected: Path

    def why_not(self, der: bytes | None) -> str | None:
        """Why a client with this certificate may not connect; None: it may."""
        if not der:
            return "it has no certificate"
        try:
            certificate = x509.load_der_x509_certificate(der)
        except ValueError as error:
            return f"its certificate cannot be read: {error}"
        if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
            return "its certificate has expired, or is not valid yet"
        if any(hmac.compare_digest(der, trusted) for trusted in self._trusted()):
            return None
        return f"its certificate is not in {self.directory}; look at {self._keep(der)}, and move it there if it may connect"

    def _trusted(self) -> list[bytes]:
        found = []
        try:
            for path in sorted(self.directory.iterdir()):
                if path.suffix.lower() not in {".der", ".crt", ".pem"}:
                    continue
                try:
                    content = path.read_bytes()
                    pem = content.lstrip().startswith(b"-----BEGIN")
                    certificate = x509.load_pem_x509_certificate(content) if pem else x509.load_der_x509_certificate(content)
                    found.append(certificate.public_bytes(serialization.Encoding.DER))
                except (OSError, ValueError) as error:
                    log.warning("%s is not a certificate, and trusts nobody: %s", path, error)
        except OSError as error:
            log.warning("no client is trusted: %s", error)
        return found

    def _keep(self, der: bytes) -> Path:
        path = self.rejected / f"{hashlib.sha256(der).hexdigest()[:16]}.der"
        with contextlib.suppress(OSError):
            self.rejected.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists() and len(list(self.rejected.iterdir())) < _REJECTED_KEPT:
                path.write_bytes(der)
        return path


@dataclass
class Users:
    """Names and scrypt hashes of passwords, one JSON object in ``path``, read anew for each login."""

    path: Path
    clock: Callable[[], float] = time.monotonic
    _failed: dict[str, tuple[int, float]] = field(default_factory=dict)

    def add(self, name: str, password: str) -> None:
        """Add a user or change a password; ConfigError if the name or the password will not do."""
        try:
            check_name(name)
        except ValueError as error:
            raise ConfigError(f"a user's name {error}") from None
        if len(password) < MIN_PASSWORD:
            raise ConfigError(f"the password has {len(password)} characters; choose one with {MIN_PASSWORD} or more")
        users = self._read() if self.path.exists() else {}
        salt = secrets.token_bytes(16)
        users[name] = {**_COST, "salt": salt.hex(), "hash": _hash(password, salt, _COST).hex()}
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_name(f"{self.path.name}.new")
        fresh.unlink(missing_ok=True)
        _write_private(fresh, json.dumps(users, indent=1).encode())
        fresh.replace(self.path)

    def right(self, name: str, password: str) -> bool:
        """Does the password belong to the name? Takes as long for names that do not exist."""
        count, until = self._failed.get(name, (0, 0.0))
        if count >= _TRIES and self.clock() < until:
            log.warning("user %r is refused for %d s after %d wrong passwords", name, until - self.clock(), count)
            return False
        try:
            known = self._read().get(name)
        except ConfigError as error:
            log.error("nobody can log in: %s", error)
            return False
        cost = {key: known[key] for key in _COST} if known else _COST
        found = _hash(password, bytes.fromhex(known["salt"]) if known else bytes(16), cost)
        if known and hmac.compare_digest(found, bytes.fromhex(known["hash"])):
            self._failed.pop(name, None)
            return True
        if len(self._failed) > 1_000:
            self._failed.clear()
        self._failed[name] = (count + 1, self.clock() + _LOCKED_S)
        return False

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            if self.path.stat().st_mode & 0o077:
                raise ConfigError(f"{self.path} can be read by others: chmod 600 {self.path}")
            users = json.loads(self.path.read_bytes())
            for entry in users.values():
                bytes.fromhex(entry["salt"] + entry["hash"])
                if not all(isinstance(entry[key], int) for key in _COST):
                    raise ValueError("a cost is no number")
        except FileNotFoundError:
            raise ConfigError(f"{self.path} is not there; add a user with `station opcua user add`") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{self.path} cannot be read ({error!r}); remove it and add its users again") from None
        return users


def _hash(password: str, salt: bytes, cost: dict[str, int]) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost["n"], r=cost["r"], p=cost["p"], maxmem=2**26, dklen=32)
