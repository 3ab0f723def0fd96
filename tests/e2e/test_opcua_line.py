"""A running line with its OPC UA server: a job of one part, from the call to the result, and the PLC's parts in a lot's job."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx
import pytest
from opcua_station import PASSWORD, USER, Caller, Events, client_of, free_port, need_nodesets
from running_station import PRODUCT, RunningStation, scene

from inspection import config as configuration
from inspection.opcua.nodes import EVENTS
from inspection.opcua.security import Users, own_identity
from inspection.opcua.state import AUTOMATIC


@pytest.mark.by_hand
def test_single_jobs_are_inspected_and_their_results_come_as_events(tmp_path: Path, plate_model: Path) -> None:
    station = RunningStation(tmp_path, plate_model)
    port = free_port()
    text = station.config_path.read_text().replace('TriggerSource = "Line1"', 'TriggerSource = "Software"')
    options = f'[opcua]\nport = {port}\nnodeset_dir = "{need_nodesets()}"\nlots_from_jobs = true\n'
    station.config_path.write_text(text + options)
    station.config = configuration.load(station.config_path)
    home = station.config.data_dir / "opcua"
    Users(home / "users").add(USER, PASSWORD)
    (home / "trusted").mkdir()
    (home / "trusted" / "client.der").write_bytes(own_identity(tmp_path / "client", "client").certificate)

    def listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    async def run() -> None:
        async with await client_of(f"opc.tcp://127.0.0.1:{port}", home, tmp_path / "client") as client:
            await client.load_data_type_definitions()
            caller = Caller(client)
            await caller.reaches("Ready", 60)
            events = Events()
            subscription = await client.create_subscription(50, events)
            vision = await client.get_namespace_index("http://opcfoundation.org/UA/MachineVision")
            kind = client.get_node(f"ns={vision};i={EVENTS['ResultReady']}")
            await subscription.subscribe_events(client.nodes.server, kind)
            # The recorder opens the lot of this job, and closes it.
            assert (await caller.start("StartContinuous", "L1", product=PRODUCT))[1] == 0
            assert await caller.stop(f"{AUTOMATIC}.Stop") == 0
            station.open_lot("L2")
            for number in range(3):
                station.camera.show(scene(number))
                job, error = await caller.start("StartSingleJob", "L2", f"SN{number}")
                assert error == 0
                event = await events.next()
                assert (event.JobId.Id, event.PartId.Id, event.MeasId.Id) == (job, f"SN{number}", "L2")
                assert event.ResultState == 1
                assert event.ResultContent[0].Verdict == "pass"
                assert event.IsSimulated is True
                assert len(event.InternalRecipeId.Id) == 64
                await caller.reaches("Ready")

    with station:
        station.wait_until(listening, 120, "the OPC UA server to listen")
        asyncio.run(run())
        assert station.states()["opcua"] == "serving"
        summary = station.summary("L2")
        assert (summary.triggered, summary.passed, summary.accepted) == (3, 3, 3)
        # The same by REST.
        station.camera.show(scene(7))
        answer = httpx.post(f"{station.url}/api/v1/triggers", json={"lot": "L2", "serial": "SN7"}, timeout=30)
        assert answer.status_code == 201, answer.text
        told = answer.json()
        assert (told["output"], told["verdict"], told["reason"]) == ("accept", "pass", None)
        assert told["trigger_id"] == station.rows("L2")[-1]["trigger_id"]
        closed = httpx.post(f"{station.url}/api/v1/triggers", json={"lot": "L1", "serial": "SN8"}, timeout=30).json()
        assert (closed["output"], closed["verdict"], closed["reason"]) == ("reject", "not_inspected", "closed_lot")
