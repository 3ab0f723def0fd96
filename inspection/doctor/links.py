"""What lies between camera and memory: network packets and buffers of GigE Vision, USB memory, and bytes per second."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET

import psutil

from cameras.genicam import BUFFERS
from inspection.doctor.findings import Finding, failure, ok, warning
from inspection.doctor.producers import AREA, numbers

# A burst of frames must fit until the producer has read it.
_GIGE_BUFFER_BYTES = 8 << 20
# Of what a link carries, the rest is for headers and repeated packets.
_FULL = 0.9
_JUMBO_BYTES = 8_000
# Ethernet's frame of 1500 bytes.
_PLAIN_MTU = 1500
_MB = 1e6


@dataclass(frozen=True, slots=True)
class NetworkPort:
    """One of this machine's: IPv4 network, MTU, speed in Mbit/s (0 if unknown)."""

    name: str
    network: ipaddress.IPv4Network
    mtu: int
    mbit_per_s: int


@dataclass(frozen=True, slots=True)
class MachineLinks:
    """``usbfs_bytes``: what the kernel gives to USB transfers of all programs together, None without USB; 0 is without limit."""

    ports: tuple[NetworkPort, ...]
    rmem_max_bytes: int
    usbfs_bytes: int | None


def probe() -> MachineLinks:
    ports = []
    states = psutil.net_if_stats()
    for name, addresses in psutil.net_if_addrs().items():
        for address in addresses:
            if address.family == AF_INET and address.netmask and name in states:
                network = ipaddress.IPv4Network(f"{address.address}/{address.netmask}", strict=False)
                ports.append(NetworkPort(name, network, states[name].mtu, states[name].speed))
    usbfs = Path("/sys/module/usbcore/parameters/usbfs_memory_mb")
    return MachineLinks(
        tuple(ports),
        int(Path("/proc/sys/net/core/rmem_max").read_text(encoding="ascii")),
        int(usbfs.read_text(encoding="ascii")) << 20 if usbfs.exists() else None,
    )


def judge_link(camera: str, tl_type: str, features: Mapping[str, str], machine: MachineLinks) -> Iterator[Finding]:
    """Of one camera, by what its features tell."""
    port = None
    if tl_type == "GEV":
        port = _port(features, machine.ports)
        yield from _judge_packets(camera, features, port)
    yield from _judge_rate(camera, features, port)


def judge_buffers(tl_types: Sequence[str], payloads: Sequence[float], machine: MachineLinks) -> Iterator[Finding]:
    """Of all cameras together: their kinds of link, and the bytes of one frame of each."""
    if "GEV" in tl_types:
        check, found = "net.core.rmem_max", f"{machine.rmem_max_bytes / 2**20:.1f} MiB"
        if machine.rmem_max_bytes < _GIGE_BUFFER_BYTES:
            yield warning(
                AREA,
                check,
                f"{found}: packets are lost while the station is held up for a moment",
                f"sysctl net.core.rmem_max={_GIGE_BUFFER_BYTES * 4}, and write it into /etc/sysctl.d",
            )
        else:
            yield ok(AREA, check, found)
    needed = sum(payload for tl_type, payload in zip(tl_types, payloads, strict=True) if tl_type == "U3V") * BUFFERS
    if "U3V" in tl_types and machine.usbfs_bytes is not None:
        check = "usbfs_memory_mb"
        found = f"{machine.usbfs_bytes >> 20} MiB for {needed / 2**20:.0f} MiB of buffers"
        if 0 < machine.usbfs_bytes < needed:
            yield failure(
                AREA,
                check,
                f"{found}: cameras do not start, or lose frames",
                f"boot with usbcore.usbfs_memory_mb={max(1000, int(needed / 2**20) + 1)}",
            )
        else:
            yield ok(AREA, check, found)


def _judge_packets(camera: str, features: Mapping[str, str], port: NetworkPort | None) -> Iterator[Finding]:
    check = f"camera {camera}: packets"
    size = numbers(features, "GevSCPSPacketSize")
    if port is None:
        yield warning(
            AREA, check, "no network port of this machine is in the camera's network", "give the port an address in that network"
        )
    elif size is not None and size > port.mtu:
        yield failure(
            AREA,
            check,
            f"packets of {size:.0f} bytes through {port.name}, whose MTU is {port.mtu}: frames do not arrive",
            f"ip link set {port.name} mtu 9000, or set GevSCPSPacketSize = {port.mtu}",
        )
    elif size is not None and size < _JUMBO_BYTES:
        mtu = f"; the MTU of {port.name} is {port.mtu}"
        yield warning(
            AREA,
            check,
            f"packets of {size:.0f} bytes{mtu}: each costs an interrupt",
            "use jumbo frames: "
            + (f"ip link set {port.name} mtu 9000, then " if port.mtu <= _PLAIN_MTU else "")
            + "GevSCPSPacketSize = 8000 or more",
        )
    elif size is not None:
        yield ok(AREA, check, f"{size:.0f} bytes through {port.name}, MTU {port.mtu}")


def _judge_rate(camera: str, features: Mapping[str, str], port: NetworkPort | None) -> Iterator[Finding]:
    payload = numbers(features, "PayloadSize")
    rate = numbers(features, "ResultingFrameRate", "AcquisitionResultingFrameRate", "AcquisitionFrameRate")
    carried = numbers(features, "DeviceLinkThroughputLimit", "DeviceLinkSpeed")
    by = "the camera's link"
    if port is not None and port.mbit_per_s and (carried is None or port.mbit_per_s * 1e6 / 8 < carried):
        carried, by = port.mbit_per_s * 1e6 / 8, port.name
    if payload is None or rate is None or not carried:
        return
    check, needed = f"camera {camera}: bytes per second", payload * rate
    found = f"{payload / _MB:.1f} MB × {rate:.0f}/s = {needed / _MB:.0f} MB/s; {by} carries {carried / _MB:.0f} MB/s"
    if needed > carried * _FULL:
        yield warning(
            AREA,
            check,
            found,
            f"at most {carried * _FULL / payload:.0f} frames/s arrive: lower AcquisitionFrameRate, or take a smaller region or "
            "pixel format",
        )
    else:
        yield ok(AREA, check, found)


def _port(features: Mapping[str, str], ports: Sequence[NetworkPort]) -> NetworkPort | None:
    """Through which the camera's address is reached; the producer may tell the address as a number or with dots."""
    said = features.get("GevCurrentIPAddress", "")
    try:
        address = ipaddress.IPv4Address(int(said, 0) if said[:1].isdigit() and "." not in said else said)
    except ValueError:
        return None
    return next((port for port in ports if address in port.network), None)
