"""The certificate of the pages: made, kept private, renewed while pages are served, and nothing served that is weaker."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inspection import config as configuration
from inspection import tls
from inspection.cli import app
from inspection.config import Config
from inspection.errors import ConfigError
from inspection.tls import Certificate, certificate_of, generated_path
from inspection.web.encrypted import Renewed

HEAD = 'cameras = [{ name = "top", serial = "SIM1" }]\nproducts = [{ part_number = "plate", camera = "top" }]\n[web]\n'


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "station.toml").write_text(HEAD + 'tls = "generated"\n')
    return configuration.load(tmp_path / "station.toml")


def made(config: Config) -> Certificate:
    certificate = certificate_of(config)
    assert certificate is not None
    return certificate


@contextmanager
def server(context: ssl.SSLContext) -> Iterator[int]:
    """Accepts connections, greets, and closes them; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    raw, _ = listening.accept()
                    with context.wrap_socket(raw, server_side=True) as encrypted:
                        encrypted.sendall(b"here")
                except ssl.SSLError:
                    continue  # what a client offered was refused, which it is told
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def shown(port: int, change: Callable[[ssl.SSLContext], None] = lambda _: None) -> str:
    """The fingerprint that a client sees who believes everything, and the version and cipher agreed on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    change(context)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="x") as encrypted,
    ):
        assert encrypted.recv(4) == b"here"
        der = encrypted.getpeercert(binary_form=True)
        assert der is not None
        return sha256(der).hexdigest().upper()


def test_the_station_makes_one_certificate_for_all_names_of_its_machine(config: Config) -> None:
    before = os.umask(0)
    try:
        certificate = made(config)
    finally:
        os.umask(before)
    assert {"localhost", socket.gethostname(), "127.0.0.1", "::1"} <= set(certificate.names)
    assert generated_path(config).stat().st_mode & 0o777 == 0o600
    assert made(config) == certificate, "kept as long as it is valid"
    with server(tls.server_context(certificate)) as port:
        assert shown(port) == certificate.fingerprint.replace(":", "")
        trusting = ssl.create_default_context(cafile=generated_path(config).with_suffix(".crt"))
        for name in ("localhost", "127.0.0.1"):
            with socket.create_connection(("127.0.0.1", port)) as raw, trusting.wrap_socket(raw, server_hostname=name) as checked:
                assert checked.recv(4) == b"here"


def test_old_versions_and_ciphers_without_forward_secrecy_are_refused(config: Config) -> None:
    def old(context: ssl.SSLContext) -> None:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")

    def without_forward_secrecy(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-GCM-SHA256:AES128-SHA")

    def of_today(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    with server(tls.server_context(made(config))) as port:
        assert shown(port, of_today)
        with pytest.raises(ssl.SSLError), pytest.warns(DeprecationWarning, match="TLSv1"):
            shown(port, old)
        with pytest.raises(ssl.SSLError):
            shown(port, without_forward_secrecy)


def test_a_certificate_of_the_station_is_renewed_in_time_and_served_at_once(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        short.setattr(tls, "_VALID", timedelta(days=30))
        tls.generate(generated_path(config), "st", "127.0.0.1")
        short.setattr(tls, "_RENEWED_BEFORE", timedelta(days=10))
        served = Renewed(made(config), lambda: certificate_of(config))
        former = made(config)
    with server(served.context) as port:
        assert shown(port) == former.fingerprint.replace(":", "")
        served.look()
        renewed = made(config)
        assert renewed.not_after > datetime.now(UTC) + timedelta(days=700)
        assert shown(port) == renewed.fingerprint.replace(":", "") != former.fingerprint.replace(":", "")


def own_files(folder: Path, name: str) -> tuple[Path, Path]:
    """Certificate and key as a plant's authority would give them: two files."""
    tls.generate(folder / "made.pem", name, "127.0.0.1")
    pem = (folder / "made.pem").read_bytes()
    start = pem.index(b"-----BEGIN CERTIFICATE")
    certificate, key = folder / "own.crt", folder / "own.key"
    key.touch(0o600)
    key.write_bytes(pem[:start])
    certificate.write_bytes(pem[start:])
    return certificate, key


def test_own_files_are_taken_over_when_they_are_replaced_and_never_half(tmp_path: Path) -> None:
    certificate, key = own_files(tmp_path, "first")
    (tmp_path / "station.toml").write_text(HEAD + 'tls = "files"\ntls_certificate = "own.crt"\ntls_key = "own.key"\n')
    config = configuration.load(tmp_path / "station.toml")
    first = made(config)
    assert (first.path, first.key_path, first.generated) == (certificate, key, False)
    served = Renewed(first, lambda: certificate_of(config))
    with server(served.context) as port:
        former = key.read_bytes()
        own_files(tmp_path, "second")
        key.write_bytes(former)
        served.look()
        assert shown(port) == first.fingerprint.replace(":", ""), "a certificate whose key has not come yet is not served"
        own_files(tmp_path, "third")
        served.look()
        assert shown(port) == made(config).fingerprint.replace(":", "") != first.fingerprint.replace(":", "")
    key.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read the secret"):
        certificate_of(config)


def test_a_key_may_come_from_the_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_files(tmp_path, "handed over")
    handed_over = tmp_path / "credentials"
    handed_over.mkdir(mode=0o700)
    (tmp_path / "own.key").rename(handed_over / "own.key")
    (handed_over / "own.key").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed_over))
    (tmp_path / "station.toml").write_text(HEAD + 'tls = "files"\ntls_certificate = "own.crt"\ntls_key = "own.key"\n')
    tls.server_context(made(configuration.load(tmp_path / "station.toml")))


def test_a_certificate_that_cannot_be_read_is_not_quietly_replaced(config: Config) -> None:
    made(config)
    generated_path(config).write_bytes(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigError, match="remove it, and a new one is made"):
        certificate_of(config)


def test_the_command_shows_what_browsers_show_and_makes_another(config: Config, tmp_path: Path) -> None:
    option = ["--config", str(tmp_path / "station.toml")]
    told = CliRunner().invoke(app, ["tls", "show", *option])
    assert told.exit_code == 0, told.output
    assert made(config).fingerprint in told.output
    assert CliRunner().invoke(app, ["tls", "renew", *option]).exit_code == 0
    assert made(config).fingerprint not in told.output
    (tmp_path / "station.toml").write_text(HEAD)
    assert CliRunner().invoke(app, ["tls", "show", *option]).exit_code == 1
