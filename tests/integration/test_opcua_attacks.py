"""Clients that do not play by the rules, and what the configuration opens or forgets."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyAes256Sha256RsaPss
from asyncua.ua.uaerrors import (
    BadArgumentsMissing,
    BadCertificateUntrusted,
    BadIdentityTokenRejected,
    BadInvalidArgument,
    BadSecurityPolicyRejected,
    BadUserAccessDenied,
)
from opcua_station import Caller, OpcUaStation, extension, need_nodesets, types

from inspection.domain import Verdict
from inspection.opcua.security import own_identity
from inspection.opcua.server import MAX_CONNECTIONS
from inspection.opcua.state import AUTOMATIC


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, seeder_class: Any) -> Iterator[OpcUaStation]:
    need_nodesets()
    station = OpcUaStation(tmp_path_factory.mktemp("opcua"), seeder_class)
    with station.running():
        yield station


def claiming(client: Client, certificate: bytes) -> Client:
    """The client names this certificate in CreateSession, whatever secures its channel."""
    create = client.uaclient.create_session

    async def forged(parameters: ua.CreateSessionParameters) -> Any:
        parameters.ClientCertificate = certificate
        answer = await create(parameters)
        if client.security_policy.Mode == ua.MessageSecurityMode.None_:
            # asyncua's client goes on only where it finds such an endpoint; this one goes on in any case.
            token = ua.UserTokenPolicy(PolicyId="username", TokenType=ua.UserTokenType.UserName)
            answer.ServerEndpoints.append(
                ua.EndpointDescription(
                    EndpointUrl=client.server_url.geturl(),
                    SecurityMode=ua.MessageSecurityMode.None_,
                    SecurityPolicyUri=client.security_policy.URI,
                    UserIdentityTokens=[token],
                )
            )
        return answer

    client.uaclient.create_session = forged  # type: ignore[method-assign]
    return client


async def works(station: OpcUaStation) -> None:
    async with await station.client() as client:
        assert await client.get_node("ns=1;s=VisionSystem.Health").read_value() is not None


def test_a_trusted_certificate_that_is_only_named_opens_nothing(station: OpcUaStation, tmp_path: Path) -> None:
    own_identity(tmp_path / "stranger", "client")

    async def run() -> None:
        client = claiming(await station.client(identity_dir=tmp_path / "stranger"), station.identity.certificate)
        with pytest.raises(BadCertificateUntrusted):
            await client.connect()
        await works(station)

    asyncio.run(run())


def test_a_channel_without_security_opens_nothing(station: OpcUaStation) -> None:
    async def run() -> None:
        with pytest.raises(BadSecurityPolicyRejected):
            await (await station.client(policy=None)).connect()
        with pytest.raises(BadSecurityPolicyRejected):
            await claiming(await station.client(policy=None), station.identity.certificate).connect()
        await works(station)

    asyncio.run(run())


def test_anonymous_on_a_trusted_channel_is_refused(station: OpcUaStation) -> None:
    async def run() -> None:
        client = await station.client(user=None)
        with pytest.raises((BadIdentityTokenRejected, ua.UaError)):
            await client.connect()

    asyncio.run(run())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 4096,
        b"GET / HTTP/1.1\r\n\r\n",
        b"HELF\x08\x00\x00\x00",
        b"OPNF\xff\xff\xff\xff" + b"\x41" * 1_000,
        b"MSGF\x10\x00\x00\x00" + b"\xff" * 64,
    ],
)
def test_garbage_is_survived(station: OpcUaStation, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", station.port)) as peer:
        peer.sendall(garbage)
    asyncio.run(works(station))


def test_a_message_that_promises_gigabytes_is_cut_off(station: OpcUaStation) -> None:
    with socket.create_connection(("127.0.0.1", station.port), timeout=20) as peer:
        peer.sendall(b"OPNF\xff\xff\xff\x7f")

        def flood() -> None:
            for _ in range(1_000):
                peer.sendall(b"\x41" * 65_536)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            flood()
    asyncio.run(works(station))


def test_more_connections_than_allowed_are_closed_and_those_open_go_on(station: OpcUaStation) -> None:
    async def run() -> None:
        async with await station.client() as client:
            peers = [socket.create_connection(("127.0.0.1", station.port)) for _ in range(MAX_CONNECTIONS + 5)]
            try:
                peers[-1].settimeout(20)
                assert await asyncio.to_thread(peers[-1].recv, 1) == b""
                assert await client.get_node("ns=1;s=VisionSystem.Health").read_value() is not None
            finally:
                for peer in peers:
                    peer.close()

    asyncio.run(run())


def test_arguments_of_other_kinds_are_refused(station: OpcUaStation) -> None:
    async def run() -> None:
        async with await station.client() as client:
            await client.load_data_type_definitions()
            caller = Caller(client)
            with pytest.raises(BadArgumentsMissing):
                await caller.call("ResultManagement.GetResultById")
            wait = ua.Variant(0, ua.VariantType.Int32)
            for value in (5, "text", [1, 2], extension(ua.Range(Low=0.0, High=1.0))):
                with pytest.raises(BadInvalidArgument):
                    await caller.call("ResultManagement.GetResultById", value, wait)
            with pytest.raises(BadInvalidArgument):
                await caller.call("ResultManagement.GetResultById", extension(types.ResultIdDataType(Id="x" * 1_000)), wait)
            with pytest.raises(BadInvalidArgument):
                await caller.call(f"{AUTOMATIC}.Stop", "cause", 7)
            with pytest.raises(BadUserAccessDenied):
                await client.nodes.objects.add_object(1, "mine")

    asyncio.run(run())


@pytest.mark.by_hand
def test_anonymous_may_read_but_not_change_where_it_is_allowed_and_the_lot_may_be_in_part_id(
    tmp_path: Path, seeder_class: Any
) -> None:
    options = 'allow_anonymous = true\nallow_unencrypted = true\nlot_from = "PartId"'
    station = OpcUaStation(tmp_path, seeder_class, options=options)
    with station.seeding() as seeder:
        seeder.lot("L")
        seeder.inspection("L", "S1", Verdict.PASS)
        seeder.inspection("L", "S2", Verdict.PASS)

    async def run() -> None:
        async with await station.client(user=None, policy=None) as client:
            await client.load_data_type_definitions()
            caller = Caller(client)
            await caller.reaches("Ready")
            wait = ua.Variant(0, ua.VariantType.Int32)
            _, result, _ = await caller.call(
                "ResultManagement.GetResultById", extension(types.ResultIdDataType(Id="cell/2")), wait
            )
            assert (result.MeasId, result.PartId.Id) == (None, "L/S2")
            with pytest.raises(BadUserAccessDenied):
                await caller.start("StartContinuous", "", part="L")
        async with await station.client(policy=SecurityPolicyAes256Sha256RsaPss) as client:
            await client.load_data_type_definitions()
            caller = Caller(client)
            assert await caller.start("StartContinuous", "", part="L") == ("cell/lot/L", 0)
            assert await caller.stop(f"{AUTOMATIC}.Stop") == 0

    with station.running():
        asyncio.run(run())


def test_a_missing_nodeset_is_said_and_shown_in_the_health(tmp_path: Path, seeder_class: Any) -> None:
    station = OpcUaStation(tmp_path, seeder_class)
    text = station.config_path.read_text()
    station.config_path.write_text(text.replace(f'nodeset_dir = "{need_nodesets()}"', 'nodeset_dir = "nowhere"'))
    with station.process("recorder"), station.process("opcua"):
        station.wait_until(
            lambda: station.config.status_path.exists() and "is not there; take it" in station.config.status_path.read_text(),
            60,
            "the health to say what is missing",
        )
    assert "Opc.Ua.MachineVision.NodeSet2.xml is not there" in station.log()
    station.engine.dispose()


def test_without_its_section_there_is_no_opcua_process(tmp_path: Path, seeder_class: Any) -> None:
    config = tmp_path / "station.toml"
    config.write_text('[[cameras]]\nname = "top"\nserial = "1"\n[[products]]\npart_number = "p"\ncamera = "top"\n')
    command = [sys.executable, "-m", "inspection", "process", "opcua", "--config", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "no process is named 'opcua'" in result.stderr
