"""What the station serves and whom it reaches: addresses, ports, receivers, and their certificates."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from cryptography import x509

from inspection.config import Config, MqttReceiverConfig
from inspection.doctor.findings import Finding, failure, ok, warning
from inspection.doctor.running import Running

AREA = "network"
_CONNECT_S = 3.0
_SOON_DAYS = 30


@dataclass(frozen=True, slots=True)
class PortFacts:
    """A port that the station serves. ``error`` is errno of trying it, 0 if it is free; ``holder``: pid and name, as far as
    the kernel tells this user.
    """

    what: str
    host: str
    port: int
    error: int
    holder: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """Somebody whom the station reaches. ``ms`` until connected, TLS included. ``expires``: the certificate that was shown, or
    the authorities' in ``ca_file``, whichever ends first. ``refused``: why its certificate is not trusted.
    """

    what: str
    address: str
    ms: float | None = None
    tls: bool = False
    expires: datetime | None = None
    refused: str | None = None
    trouble: str | None = None


def served(config: Config) -> list[tuple[str, str, int, str]]:
    """What, host and port of everything that the station serves, and the process that does."""
    found = [("REST and pages", config.web.host, config.web.port, "web")]
    if config.plc is not None:
        found.append(("PLC, Modbus TCP", config.plc.host, config.plc.port, "plc"))
    if config.opcua is not None:
        found.append(("OPC UA", config.opcua.host, config.opcua.port, "opcua"))
    return found


def probe_port(what: str, host: str, port: int) -> PortFacts:
    """Tries the port for a moment, and lets it go."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror:
        return PortFacts(what, host, port, errno.EADDRNOTAVAIL)
    listening = _holder(port)
    if listening is not None and listening[1]:
        return PortFacts(what, host, port, errno.EADDRINUSE, listening)
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return PortFacts(what, host, port, error.errno or errno.EINVAL, _holder(port))
    return PortFacts(what, host, port, 0)


def _holder(port: int) -> tuple[int, str] | None:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            try:
                return (connection.pid or 0, psutil.Process(connection.pid).name() if connection.pid else "")
            except psutil.NoSuchProcess:
                continue
    return None


def peers(config: Config) -> list[tuple[str, str, int, bool, Path | None]]:
    """What, host, port, TLS and authorities of all whom the station reaches."""
    found = []
    for receiver in config.receivers:
        what = f"receiver {receiver.name}"
        if isinstance(receiver, MqttReceiverConfig):
            found.append((what, receiver.host, receiver.port, receiver.tls, receiver.ca_file))
        else:
            url = urlsplit(receiver.url)
            tls = url.scheme == "https"
            found.append((what, url.hostname or "", url.port or (443 if tls else 80), tls, receiver.ca_file))
    return found


def probe_peer(what: str, host: str, port: int, tls: bool, ca_file: Path | None) -> PeerFacts:
    """Connects, shows nothing and asks for nothing."""
    address = f"{host}:{port}"
    started = time.perf_counter()
    try:
        with socket.create_connection((host, port), _CONNECT_S) as plain:
            if not tls:
                return PeerFacts(what, address, (time.perf_counter() - started) * 1e3)
            trusted = ssl.create_default_context()
            ends = []
            if ca_file is not None:
                trusted.load_verify_locations(ca_file)
                ends = [each.not_valid_after_utc for each in x509.load_pem_x509_certificates(ca_file.read_bytes())]
            with trusted.wrap_socket(plain, server_hostname=host) as secure:
                shown = secure.getpeercert(binary_form=True)
                assert shown is not None
                ends.append(x509.load_der_x509_certificate(shown).not_valid_after_utc)
                return PeerFacts(what, address, (time.perf_counter() - started) * 1e3, True, min(ends))
    except ssl.SSLCertVerificationError as error:
        return PeerFacts(what, address, tls=True, refused=error.verify_message)
    except (OSError, ValueError) as error:
        return PeerFacts(what, address, tls=tls, trouble=str(error))


# --- judgement ---


def judge_port(facts: PortFacts, process: str, running: Running) -> Finding:
    check, address = f"port of {facts.what}", f"{facts.host}:{facts.port}"
    if facts.error == 0:
        if process in running.pids:
            return warning(AREA, check, f"{address} is free, though {process} runs", "look into its log")
        return ok(AREA, check, f"{address} is free")
    if facts.error == errno.EADDRINUSE:
        pid, name = facts.holder or (0, "")
        if pid and pid == running.pids.get(process):
            return ok(AREA, check, f"{address}, served by this station")
        if not pid and process in running.pids:
            return ok(AREA, check, f"{address} is served, by this station if nobody else does")
        who = f"{name}, process {pid}" if pid else "a process of another user"
        return failure(AREA, check, f"{address} is taken by {who}", "end it, or give the station another port")
    if facts.error == errno.EADDRNOTAVAIL:
        return failure(
            AREA,
            check,
            f"no network port of this machine has the address {facts.host}",
            "correct `host`, or give it that address",
        )
    if facts.error == errno.EACCES:
        return failure(
            AREA,
            check,
            f"{address}: this user may not serve ports that low",
            f"take one from 1024 on, or sysctl net.ipv4.ip_unprivileged_port_start={facts.port}",
        )
    return failure(AREA, check, f"{address}: {os.strerror(facts.error)}", "correct host and port")


def judge_peer(facts: PeerFacts, now: datetime) -> Iterator[Finding]:
    check = facts.what
    if facts.refused is not None:
        yield failure(
            AREA,
            check,
            f"{facts.address}: its certificate is not trusted: {facts.refused}",
            "name the plant's authority as ca_file, or have the certificate renewed for this name",
        )
        return
    if facts.trouble is not None:
        yield warning(
            AREA,
            check,
            f"{facts.address}: {facts.trouble}",
            "look at network, name and port; until then the station inspects, and keeps what it has to say in the outbox",
        )
        return
    yield ok(AREA, check, f"{facts.address} answers after {facts.ms:.0f} ms{', TLS' if facts.tls else ''}")
    if facts.expires is not None:
        yield judge_expiry(f"{check}: certificate", facts.expires, now)


def judge_expiry(check: str, expires: datetime, now: datetime) -> Finding:
    days = (expires - now).days
    if expires < now:
        return failure(AREA, check, f"expired on {expires:%F}", "renew it")
    if days < _SOON_DAYS:
        return warning(AREA, check, f"ends on {expires:%F}, in {days} days", "renew it before")
    return ok(AREA, check, f"valid until {expires:%F}")


def own_certificate(config: Config) -> datetime | None:
    """When the OPC UA server's own certificate ends; None without one."""
    if config.opcua is None:
        return None
    path = config.data_dir / config.opcua.trusted_dir.parent / "own.der"
    try:
        return x509.load_der_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None


def utc_now() -> datetime:
    return datetime.now(UTC)
