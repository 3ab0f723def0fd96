"""The state machine over OPC UA: jobs, lots that they open and close, and what the station does by itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.uaerrors import BadInvalidArgument, BadInvalidState, BadUserAccessDenied
from opcua_station import MODEL, USER, Caller, Events, OpcUaStation, extension, need_nodesets, types
from sqlalchemy import update

from inspection.commands import CloseLot
from inspection.domain import AuditEntry, LotState, Verdict
from inspection.errors import NotFound
from inspection.messages import TriggerRequest
from inspection.opcua.nodes import EVENTS
from inspection.opcua.refusals import Code
from inspection.opcua.state import AUTOMATIC, MACHINE
from inspection.recorder_client import ZmqRecorderClient
from inspection.records import tables
from inspection.records.audit import HEAD, Wanted, list_entries
from inspection.records.queries import get_lot, lot_events_after


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, seeder_class: Any) -> Iterator[OpcUaStation]:
    """Opens lots by jobs, and triggers its camera by software."""
    need_nodesets()
    directory = tmp_path_factory.mktemp("opcua")
    station = OpcUaStation(directory, seeder_class, options="lots_from_jobs = true", trigger_source="Software")
    with station.running():
        yield station


@asynccontextmanager
async def connected(station: OpcUaStation) -> AsyncIterator[Caller]:
    async with await station.client() as client:
        await client.load_data_type_definitions()
        yield Caller(client)


def on(station: OpcUaStation, test: Callable[[Caller], Awaitable[None]]) -> None:
    """Run a test with a client, from Ready; it ends there too."""

    async def run() -> None:
        async with connected(station) as caller:
            await caller.reaches("Ready")
            await test(caller)

    asyncio.run(run())


def lot_state(station: OpcUaStation, lot: str) -> LotState:
    with station.engine.connect() as connection:
        return get_lot(connection, lot).state


async def listen(caller: Caller, *kinds: str) -> Events:
    """Events of these kinds, from the server object."""
    events = Events()
    subscription = await caller.client.create_subscription(50, events)
    index = await caller.client.get_namespace_index("http://opcfoundation.org/UA/MachineVision")
    nodes = [caller.client.get_node(ua.NodeId(EVENTS[kind], index)) for kind in kinds]
    await subscription.subscribe_events(caller.client.nodes.server, nodes)
    return events


def test_a_continuous_job_opens_its_lot_and_stop_closes_it(station: OpcUaStation) -> None:
    async def test(caller: Caller) -> None:
        events = await listen(caller, "JobStarted", "Ready")
        assert await caller.start("StartContinuous", "job-1", product="plate") == ("cell/lot/job-1", 0)
        assert await caller.state() == "ContinuousExecution"
        assert lot_state(station, "job-1") is LotState.OPEN
        assert (await events.next()).JobId.Id == "cell/lot/job-1"
        described = await caller.node("SystemState").read_value()
        assert described.StateDescription == "PRD/Operational/ContinuousExecution"
        with pytest.raises(BadInvalidState):
            await caller.start("StartContinuous", "job-2")
        assert await caller.stop(f"{AUTOMATIC}.Stop") == 0
        assert await caller.state() == "Ready"
        assert lot_state(station, "job-1") is LotState.CLOSED
        assert (await events.next()).JobId.Id == "cell/lot/job-1"
        assert (await caller.start("StartContinuous", "job-1"))[1] == Code.CLOSED_LOT
        with pytest.raises(BadInvalidState):
            await caller.stop(f"{AUTOMATIC}.Abort")

    on(station, test)


def test_what_a_client_changes_is_told_with_its_user(station: OpcUaStation) -> None:
    def told() -> list[AuditEntry]:
        with station.engine.connect() as connection:
            return list(reversed(list_entries(connection, Wanted(by=f"opcua/{USER}"), None, 1000)))

    with station.seeding() as seeder:
        seeder.lot("told-single")
    before = len(told())

    async def test(caller: Caller) -> None:
        assert (await caller.start("StartContinuous", "told", product="plate"))[1] == 0
        with pytest.raises(BadInvalidState):
            await caller.start("StartContinuous", "told-2")
        assert await caller.stop(f"{AUTOMATIC}.Stop") == 0
        assert (await caller.start("StartContinuous", "told"))[1] == Code.CLOSED_LOT
        assert (await caller.start("StartSingleJob", "told-single", "SN1"))[1] == 0
        await asyncio.to_thread(station.line.expect, TriggerRequest)
        assert await caller.stop(f"{AUTOMATIC}.Abort") == 0

    on(station, test)
    found = told()[before:]
    assert {(each.role, each.client) for each in found} == {("program", "127.0.0.1")}
    assert [(each.action, each.outcome) for each in found] == [
        ("call StartContinuous", "asked"),
        ("call StartContinuous", "done"),
        ("call StartContinuous", "asked"),
        ("call StartContinuous", "failed BadInvalidState"),
        ("call Stop", "asked"),
        ("call Stop", "done"),
        ("call StartContinuous", "asked"),
        ("call StartContinuous", f"failed {int(Code.CLOSED_LOT)}"),
        ("call StartSingleJob", "asked"),
        ("call Abort", "asked"),
        ("call Abort", "done"),
    ]
    assert (found[0].subject, json.loads(found[0].detail)) == (
        f"{AUTOMATIC}.StartContinuous",
        {"MeasId": "told", "ProductId": "plate"},
    )
    assert json.loads(found[1].detail) == {"asked": found[0].audit_id}
    with station.engine.connect() as connection:
        events = [each for each in lot_events_after(connection, 0, 1000) if each.lot == "told"]
    assert [(each.change, each.by) for each in events] == [("opened", f"opcua/{USER}"), ("closed", f"opcua/{USER}")]


def test_where_no_entry_can_be_written_nothing_is_started(station: OpcUaStation) -> None:
    head = station.config.data_dir / HEAD
    kept = head.with_name("kept")
    head.touch()
    head.rename(kept)
    head.mkdir()

    async def test(caller: Caller) -> None:
        try:
            assert (await caller.start("StartContinuous", "untold", product="plate"))[1] == Code.UNAVAILABLE
        finally:
            head.rmdir()
            kept.rename(head)
        assert await caller.state() == "Ready"
        with pytest.raises(NotFound):
            lot_state(station, "untold")

    on(station, test)


def test_a_job_for_an_open_lot_leaves_it_open(station: OpcUaStation) -> None:
    with station.seeding() as seeder:
        seeder.lot("mes-1")

    async def test(caller: Caller) -> None:
        assert await caller.start("StartContinuous", "mes-1", recipe="plate") == ("cell/lot/mes-1", 0)
        assert await caller.stop(f"{AUTOMATIC}.Abort") == 0
        assert await caller.state() == "Ready"
        assert lot_state(station, "mes-1") is LotState.OPEN

    on(station, test)


def test_closing_the_lot_elsewhere_ends_its_job(station: OpcUaStation) -> None:
    async def test(caller: Caller) -> None:
        assert (await caller.start("StartContinuous", "job-3"))[1] == 0
        recorder = ZmqRecorderClient(station.config.commands_address)
        recorder.execute(CloseLot(lot="job-3"))
        recorder.close()
        await caller.reaches("Ready")

    on(station, test)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"meas": ""}, Code.INVALID),
        ({"meas": "a b"}, Code.INVALID),
        ({"meas": "x" * 65}, Code.INVALID),
        ({"meas": "new", "product": "flange"}, Code.UNKNOWN),
        ({"meas": "new", "product": "plate", "recipe": "flange"}, Code.INVALID),
        ({"meas": "mes-other", "product": "flange"}, Code.INVALID),
    ],
)
def test_what_cannot_be_started_says_why_and_changes_nothing(station: OpcUaStation, wanted: dict[str, str], code: Code) -> None:
    with station.engine.begin() as connection:
        known = connection.execute(tables.lots.select().where(tables.lots.c.lot == "mes-other")).first()
    if known is None:
        with station.seeding() as seeder:
            seeder.lot("mes-other")

    async def test(caller: Caller) -> None:
        events = await listen(caller, "VisionInformation")
        assert await caller.start("StartContinuous", **wanted) == ("", code)
        assert await caller.state() == "Ready"
        if code is not Code.UNKNOWN:
            assert f"({int(code)})" in (await events.next()).Message.Text

    on(station, test)


def test_a_single_job_asks_the_line_for_one_trigger_and_ends_with_its_result(station: OpcUaStation) -> None:
    with station.seeding() as seeder:
        seeder.lot("single")

    async def test(caller: Caller) -> None:
        events = await listen(caller, "JobStarted", "ResultReady", "Ready")
        job, error = await caller.start("StartSingleJob", "single", "SN1")
        assert error == 0
        request = await asyncio.to_thread(station.line.expect, TriggerRequest)
        assert (request.lot, request.serial, request.camera, request.passed) == ("single", "SN1", "top", False)
        assert job == f"cell/single/{request.request_id}"
        assert await caller.state() == "SingleExecution"
        with station.seeding() as seeder:
            seq = seeder.inspection("single", "SN1", Verdict.REVIEW, camera="top")
            renamed = update(tables.triggers).where(tables.triggers.c.trigger_id == seeder.triggers)
            seeder.connection.execute(renamed.values(request_id=request.request_id))
        await caller.reaches("Ready")
        came = [await events.next() for _ in range(3)]
        assert [event.JobId.Id for event in came] == [job] * 3
        assert came[1].ResultId.Id == f"cell/{seq}"

    on(station, test)


def test_a_single_job_whose_answer_does_not_come_is_asked_for_as_passed_and_can_be_aborted(station: OpcUaStation) -> None:
    with station.seeding() as seeder:
        seeder.lot("lost")

    async def test(caller: Caller) -> None:
        assert (await caller.start("StartSingleJob", "lost", ""))[1] == Code.INVALID
        assert (await caller.start("StartSingleJob", "never-opened", "SN1"))[1] == Code.UNKNOWN
        assert (await caller.start("StartSingleJob", "lost", "SN1"))[1] == 0
        first = await asyncio.to_thread(station.line.expect, TriggerRequest)
        again = await asyncio.to_thread(station.line.expect, TriggerRequest)
        assert again.passed
        assert again.request_id == first.request_id
        assert await caller.stop(f"{AUTOMATIC}.Abort") == 0
        assert await caller.state() == "Ready"

    on(station, test)


def test_halt_ends_the_job_and_reset_and_automatic_mode_lead_back(station: OpcUaStation) -> None:
    async def test(caller: Caller) -> None:
        assert (await caller.start("StartContinuous", "job-4"))[1] == 0
        assert await caller.stop(f"{MACHINE}.Halt") == 0
        assert await caller.state() == "Halted"
        assert lot_state(station, "job-4") is LotState.CLOSED
        with pytest.raises(ua.UaStatusCodeError, match="BadStateNotActive"):
            await caller.node(f"{AUTOMATIC}.CurrentState").read_value()
        with pytest.raises(BadInvalidState):
            await caller.start("StartContinuous", "job-5")
        with pytest.raises(BadInvalidState):
            await caller.stop(f"{MACHINE}.Halt")
        assert await caller.stop(f"{MACHINE}.Reset") == 0
        assert await caller.state() == "Preoperational"
        assert await caller.call(f"{MACHINE}.SelectModeAutomatic") == [0]
        await caller.reaches("Ready")

    on(station, test)


def test_a_station_that_cannot_inspect_is_in_error_and_goes_on_with_its_job(station: OpcUaStation) -> None:
    async def test(caller: Caller) -> None:
        events = await listen(caller, "Error", "ErrorResolved")
        assert (await caller.start("StartContinuous", "job-6"))[1] == 0
        station.beating.remove("camera@top")
        try:
            await caller.reaches("Error")
            assert "camera@top has not reported" in await caller.node("Health").read_value()
            assert "camera@top" in (await events.next()).Message.Text
        finally:
            station.beating.add("camera@top")
        await caller.reaches("ContinuousExecution")
        assert (await events.next()).FromState.Text == "Error"
        assert await caller.node("Health").read_value() == ""
        assert lot_state(station, "job-6") is LotState.OPEN
        assert await caller.stop(f"{AUTOMATIC}.Stop") == 0

    on(station, test)


def test_model_and_recipe_in_service_are_shown_and_cannot_be_changed(station: OpcUaStation) -> None:
    async def test(caller: Caller) -> None:
        active = await caller.node("ConfigurationManagement.ActiveConfiguration").read_value()
        assert (active.ExternalId.Id, active.InternalId.Id) == ("plate", MODEL)
        assert await caller.node("RecipeManagement.Recipes.plate.IsPrepared").read_value() is True
        assert (await caller.node("RecipeManagement.Recipes.plate.InternalId").read_value()).Id == MODEL
        assert await caller.call("RecipeManagement.Recipes.plate.Prepare") == [True, 0]
        assert await caller.call("RecipeManagement.Recipes.plate.Unprepare") == [Code.NOT_POSSIBLE]
        activate = ua.Variant(active.InternalId, ua.VariantType.ExtensionObject)
        assert await caller.call("ConfigurationManagement.ActivateConfiguration", activate) == [0]
        nothing = [ua.Variant(0, ua.VariantType.UInt32)] * 2 + [ua.Variant(0, ua.VariantType.Int32)]
        complete, count, _, found, error = await caller.call("ConfigurationManagement.GetConfigurationList", *nothing)
        assert (complete, count, error) == (True, 1, 0)
        assert found[0].InternalId.Id == MODEL
        with pytest.raises(BadUserAccessDenied):
            await caller.node("Health").write_value("fine")

    on(station, test)


def test_simulation_is_what_the_cameras_are(station: OpcUaStation) -> None:
    async def test(caller: Caller) -> None:
        cause = (ua.Variant(0, ua.VariantType.Int32), "test")
        assert await caller.call(f"{AUTOMATIC}.SimulationMode", True, *cause) == [0]
        assert await caller.call(f"{AUTOMATIC}.SimulationMode", False, *cause) == [Code.NOT_POSSIBLE]

    on(station, test)


def test_results_are_found_by_id_and_by_every_filter(station: OpcUaStation) -> None:
    with station.seeding() as seeder:
        seeder.lot("find")
        first = seeder.inspection("find", "F1", Verdict.FAIL, proposed_class="scratch")
        lost = seeder.inspection("find", "F2", Verdict.NOT_INSPECTED)
        seeder.inspection("find", "F1", Verdict.PASS, attempt=2)

    async def test(caller: Caller) -> None:
        async def found(**wanted: Any) -> list[str]:
            kinds = ("MeasId", "PartId", "RecipeIdExternal", "RecipeIdInternal", "ConfigurationId", "ConfigurationId")
            names = ("meas", "part", "recipe", "model", "external", "configuration")
            ids = [getattr(types, f"{kind}DataType")(Id=wanted.get(name, "")) for kind, name in zip(kinds, names, strict=True)]
            ids += [types.ProductIdDataType(Id=wanted.get("product", "")), types.JobIdDataType(Id=wanted.get("job", ""))]
            numbers = [ua.Variant(wanted.get(name, 0), ua.VariantType.UInt32) for name in ("most", "start")]
            answer = await caller.call(
                "ResultManagement.GetResultListFiltered",
                ua.Variant(wanted.get("state", 0), ua.VariantType.Int32),
                *map(extension, ids),
                *numbers,
                ua.Variant(0, ua.VariantType.Int32),
            )
            assert answer[4] == 0
            assert answer[1] == len(answer[3] or [])
            return [result.PartId.Id for result in answer[3] or []]

        assert await found(meas="find") == ["F1", "F2", "F1"]
        assert await found(meas="find", state=4) == ["F2"]
        assert await found(meas="find", state=1) == ["F1", "F1"]
        assert await found(meas="find", state=3) == []
        assert await found(job="cell/lot/find", start=1, most=1) == ["F2"]
        assert await found(job="elsewhere/lot/find") == []
        assert await found(meas="find", model=MODEL) == ["F1", "F1"]
        assert await found(meas="find", configuration="cd" * 32) == []
        assert await found(meas="find", recipe="plate", product="flange") == []
        assert await found(part="F2", product="plate") == ["F2"]
        no_wait = ua.Variant(0, ua.VariantType.Int32)

        def result_id(text: str) -> ua.Variant:
            return extension(types.ResultIdDataType(Id=text))

        handle, result, error = await caller.call("ResultManagement.GetResultById", result_id(f"cell/{first}"), no_wait)
        assert (result.PartId.Id, result.ResultContent[0].Value.ProposedClass, error) == ("F1", "scratch", 0)
        components = await caller.call("ResultManagement.GetResultComponentsById", result_id(f"cell/{lost}"), no_wait)
        assert (components[4], components[5].Id, components[15][0].Value.Reason, components[-1]) == (4, "find", "frame_lost", 0)
        released = ua.Variant(handle, ua.VariantType.UInt32)
        assert await caller.call("ResultManagement.ReleaseResultHandle", released) == [0]
        for unknown in ("cell/999999", "other/1", "cell/", "", "cell/-1", "cell/" + "9" * 30):
            assert (await caller.call("ResultManagement.GetResultById", result_id(unknown), no_wait))[2] == Code.UNKNOWN
        with pytest.raises(BadInvalidArgument):
            await caller.call("ResultManagement.GetResultById", "cell/1", no_wait)

    on(station, test)


@pytest.mark.by_hand
def test_a_job_outlives_the_server_and_a_dead_recorder_is_said(tmp_path: Path, seeder_class: Any) -> None:
    need_nodesets()
    station = OpcUaStation(tmp_path, seeder_class, options="lots_from_jobs = true")
    with station.running():

        async def start(caller: Caller) -> None:
            assert (await caller.start("StartSingleJob", "kept", "SN1"))[1] == Code.UNKNOWN
            assert (await caller.start("StartContinuous", "kept"))[1] == 0

        on(station, start)
        os.kill(station.server.pid, signal.SIGKILL)
        station.server.wait()
        with station.process("opcua") as server:
            station.wait_until(lambda: station.listening() or server.poll() is not None, 120, "the server to listen again")

            async def finish() -> None:
                async with connected(station) as caller:
                    await caller.reaches("ContinuousExecution")
                    assert await caller.stop(f"{AUTOMATIC}.Stop") == 0
                    # The camera is triggered by the line: no pretending.
                    with station.seeding() as seeder:
                        seeder.lot("hard")
                    assert (await caller.start("StartSingleJob", "hard", "SN1"))[1] == Code.NOT_POSSIBLE

            asyncio.run(finish())
            assert lot_state(station, "kept") is LotState.CLOSED
            station.recorder.kill()
            station.recorder.wait()

            async def without_recorder() -> None:
                async with connected(station) as caller:
                    assert (await caller.start("StartContinuous", "unanswered"))[1] == Code.UNAVAILABLE
                    await caller.reaches("Error")
                    # Other processes, whose reports the recorder writes down, may be missed first.
                    await caller.says("recorder")
                    with station.process("recorder"):
                        await caller.reaches("Ready")
                        assert (await caller.start("StartContinuous", "unanswered"))[1] == 0
                        assert await caller.stop(f"{AUTOMATIC}.Stop") == 0

            asyncio.run(without_recorder())
            assert lot_state(station, "unanswered") is LotState.CLOSED
