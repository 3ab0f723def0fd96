"""What the methods of the state machine mean on a station whose parts the PLC triggers.

A continuous job is a lot: from StartContinuous to Stop the lot's results belong to it. It outlives this process, in a file, and
faults of the station. A single job asks the line for one trigger of a camera that the station triggers by software.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cameras.bus import Bus
from inspection.commands import CloseLot, Command, OpenLot, Refused, check_name
from inspection.config import Config, ProductConfig
from inspection.domain import Lot, LotState
from inspection.errors import NotFound, Unavailable
from inspection.messages import TriggerRequest
from inspection.opcua.nodes import AddressSpace, types
from inspection.opcua.refusals import Code, Refusal, WrongState
from inspection.opcua.results import SINGLE, Names
from inspection.opcua.state import AUTOMATIC, Automatic, State, VisionStateMachine
from inspection.recorder_client import RecorderClient
from inspection.records.queries import get_lot

log = logging.getLogger(__name__)

# As the simulated cell and a PLC do: a request whose result did not come is asked for again, as of a part that has passed.
_REPEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """A continuous job. ``opened``: it opened its lot, and closes it when it ends."""

    lot: str
    product: str
    opened: bool


@dataclass
class _Single:
    job: str
    request: TriggerRequest
    due: float


class Jobs:
    """All of it runs in the loop of the process; the lock keeps one change from beginning within another."""

    def __init__(
        self,
        config: Config,
        machine: VisionStateMachine,
        space: AddressSpace,
        names: Names,
        recorder: RecorderClient,
        bus: Bus,
        engine: Engine,
        job_file: Path,
    ) -> None:
        assert config.opcua is not None
        self._config = config
        self._lots_from_jobs = config.opcua.lots_from_jobs
        self._machine = machine
        self._space = space
        self._names = names
        self._recorder = recorder
        self._bus = bus
        self._engine = engine
        self._job_file = job_file
        self._lock = asyncio.Lock()
        self._single: _Single | None = None
        # Who ended the job of each.
        self._unclosed: dict[str, str] = {}
        # Lots that a job asked to be opened without getting an answer.
        self._doubtful: set[str] = set()
        # The first time the station goes to work by itself; after Halt and Reset a client decides.
        self._by_itself = True
        self.models: dict[str, str] = {}
        self.job = self._read_job()

    # --- methods ---

    async def start_continuous(self, meas: str, part: str, recipe: str, product: str, by: str) -> str:
        """Returns the JobId. A lot that was never opened is opened, if the configuration has lots_from_jobs."""
        async with self._lock:
            self._require(Automatic.READY)
            lot, _ = self._names.lot_and_serial(meas, part)
            wanted = _agree(recipe, product)
            known = await self._lot(lot)
            if known is None:
                job = await self._open(lot, wanted, by)
            else:
                _check(known, wanted)
                self._recipe(known.product)
                job = Job(lot, known.product, lot in self._doubtful)
            self._write_job(job)
            await self._begin(job, "")
            return self._names.job(lot)

    async def start_single(self, meas: str, part: str, recipe: str, product: str) -> str:
        """Returns the JobId; its result follows as an event, and then the system is ready again."""
        async with self._lock:
            self._require(Automatic.READY)
            lot, serial = self._names.lot_and_serial(meas, part)
            known = await self._lot(lot)
            if known is None:
                raise Refusal(Code.UNKNOWN, f"lot {lot!r} was never opened; open it, or start a continuous job for it")
            _check(known, _agree(recipe, product))
            settings = self._recipe(known.product)
            if serial or settings.serial_from != "code":
                _named(serial, "serial")
            if not self._config.camera(settings.camera).software_triggered:
                raise Refusal(
                    Code.NOT_POSSIBLE,
                    f"camera {settings.camera} is triggered by the line, and an OPC UA call cannot place a part before it: "
                    "let the PLC trigger, or set TriggerSource = Software",
                )
            now_ns = time.monotonic_ns()
            request = TriggerRequest(
                request_id=SINGLE + uuid.uuid4().hex,
                lot=lot,
                serial=serial or None,
                camera=settings.camera,
                reply_to=self._bus.name,
                requested_ns=now_ns,
            )
            if not self._bus.send("line", request):
                raise Refusal(Code.UNAVAILABLE, "the line process does not take requests; try again")
            job = self._names.job(lot, request.request_id)
            self._single = _Single(job, request, time.monotonic() + settings.deadline_ms / 1000 + _REPEAT_S)
            await self._machine.go_automatic(Automatic.SINGLE)
            await self._fire_job("JobStarted", job)
            return job

    async def stop(self, ending: str, by: str) -> None:
        """``ending``: Stop or Abort. Parts that the line has triggered get their results in either case."""
        async with self._lock:
            self._require(Automatic.CONTINUOUS, Automatic.SINGLE)
            job = self._single.job if self._single else self._names.job(self.job.lot) if self.job else ""
            self._single = None
            await self._end_job(by, strict=True)
            await self._machine.go_automatic(Automatic.READY, ending)
            await self._fire_job("Ready", job)

    async def halt(self, by: str) -> None:
        async with self._lock:
            self._require(State.PREOPERATIONAL, State.OPERATIONAL, State.ERROR)
            await self._leave(State.HALTED, by)

    async def reset(self, by: str) -> None:
        async with self._lock:
            self._require(State.HALTED, State.OPERATIONAL, State.ERROR)
            await self._leave(State.PREOPERATIONAL, by)

    async def select_mode_automatic(self) -> None:
        async with self._lock:
            self._require(State.PREOPERATIONAL)
            await self._machine.go(State.OPERATIONAL)

    async def simulation_mode(self, activate: bool) -> None:
        """What produces frames is configured, and not switched while a line runs."""
        self._require(State.OPERATIONAL)
        real = [camera.name for camera in self._config.cameras if camera.producer != "simulator"]
        if activate and real:
            raise Refusal(Code.NOT_POSSIBLE, f"cameras are real ({', '.join(real)}); a simulated one is set by its producer")
        if not activate and len(real) < len(self._config.cameras):
            raise Refusal(Code.NOT_POSSIBLE, "cameras are simulated; a real one is set by its producer in the configuration")

    # --- by itself ---

    async def tick(self, troubles: Sequence[str], models: dict[str, str]) -> None:
        """Transitions that the station makes by itself, from what it says of its processes, models and lots."""
        async with self._lock:
            self.models = models
            await self._close_unclosed()
            machine = self._machine
            if machine.state is State.PREOPERATIONAL and self._by_itself and not troubles:
                await machine.go(State.OPERATIONAL, "Auto")
            elif machine.state is State.OPERATIONAL and troubles:
                self._single = None
                await machine.go(State.ERROR, "Auto", "; ".join(troubles))
            elif machine.state is State.ERROR and not troubles:
                await machine.go(State.OPERATIONAL, "Auto")
            if machine.automatic is Automatic.INITIALIZED and models:
                await machine.go_automatic(Automatic.READY, "Auto")
            if machine.automatic is Automatic.READY and not models:
                await machine.go_automatic(Automatic.INITIALIZED, "Auto")
            if machine.automatic is Automatic.READY and self.job is not None:
                await self._begin(self.job, "Auto")
            elif machine.automatic is Automatic.CONTINUOUS and self.job is not None:
                await self._follow_lot(self.job)
            self._repeat()

    async def result_came(self, job: str) -> None:
        """A single job ends with its result."""
        async with self._lock:
            if self._single is not None and self._single.job == job:
                self._single = None
                await self._machine.go_automatic(Automatic.READY, "Auto")
                await self._fire_job("Ready", job)

    def _repeat(self) -> None:
        if self._single is None or time.monotonic() < self._single.due:
            return
        self._single.due = time.monotonic() + _REPEAT_S
        request = self._single.request
        fields: dict[str, Any] = {name: getattr(request, name) for name in request.__struct_fields__}
        self._bus.send("line", TriggerRequest(**fields | {"passed": True}))

    async def _follow_lot(self, job: Job) -> None:
        """The MES may close the lot of a running job: that ends it."""
        try:
            lot = await self._lot(job.lot)
        except Refusal:
            return
        if lot is not None and lot.state is LotState.OPEN:
            return
        self._write_job(None)
        await self._machine.go_automatic(Automatic.READY, "Auto", f"lot {job.lot} is closed")
        await self._fire_job("Ready", self._names.job(job.lot))

    # --- how ---

    def _require(self, *states: State | Automatic) -> None:
        machine = self._machine
        if machine.state not in states and machine.automatic not in states:
            now = machine.automatic or machine.state
            raise WrongState(f"the system is in state {now}; this is for {', '.join(states)}")

    async def _begin(self, job: Job, ending: str) -> None:
        await self._machine.go_automatic(Automatic.CONTINUOUS, ending)
        await self._fire_job("JobStarted", self._names.job(job.lot))

    async def _leave(self, state: State, by: str) -> None:
        self._by_itself = False
        self._single = None
        await self._end_job(by, strict=False)
        await self._machine.go(state)

    async def _end_job(self, by: str, strict: bool) -> None:
        """Close the lot if the job opened it. Not ``strict``: the job ends in any case, and the closing is tried again."""
        job = self.job
        if job is None:
            return
        if job.opened:
            try:
                await self._close(job.lot, by)
            except Refusal as refusal:
                if strict:
                    raise
                log.warning("lot %s is closed later: %s", job.lot, refusal)
                self._unclosed[job.lot] = by
        self._write_job(None)

    async def _close_unclosed(self) -> None:
        for lot, by in sorted(self._unclosed.items()):
            try:
                await self._close(lot, by)
            except Refusal:
                return
            del self._unclosed[lot]

    async def _open(self, lot: str, wanted: str, by: str) -> Job:
        if not self._lots_from_jobs:
            raise Refusal(Code.UNKNOWN, f"lot {lot!r} was never opened; the MES opens lots, or set lots_from_jobs under [opcua]")
        products = [product.part_number for product in self._config.products]
        if not wanted and len(products) > 1:
            raise Refusal(Code.INVALID, f"name the product of lot {lot!r} in ProductId or RecipeId: {', '.join(products)}")
        job = Job(lot, self._recipe(wanted or products[0]).part_number, True)
        # First: if this process dies once the lot is open, the job goes on, and closes it.
        self._write_job(job)
        try:
            await self._command(OpenLot(lot=lot, product=job.product, by=by))
        except Refusal as refusal:
            self._write_job(None)
            if refusal.code is Code.UNAVAILABLE:
                self._doubtful.add(lot)
            raise
        return job

    async def _close(self, lot: str, by: str) -> None:
        known = await self._lot(lot)
        if known is not None and known.state is LotState.OPEN:
            await self._command(CloseLot(lot=lot, by=by))

    async def _command(self, command: Command) -> None:
        try:
            reply = await asyncio.to_thread(self._recorder.execute, command)
        except Unavailable as error:
            raise Refusal(Code.UNAVAILABLE, str(error)) from None
        if isinstance(reply, Refused):
            raise Refusal(Code.UNAVAILABLE if reply.code == "unavailable" else Code.INVALID, reply.detail)

    async def _lot(self, lot: str) -> Lot | None:
        """The lot as recorded; None if it was never opened."""
        _named(lot, "lot")

        def read() -> Lot | None:
            with self._engine.connect() as connection:
                try:
                    return get_lot(connection, lot)
                except NotFound:
                    return None

        try:
            return await asyncio.to_thread(read)
        except SQLAlchemyError as error:
            raise Refusal(Code.UNAVAILABLE, f"the records cannot be read: {error}") from error

    def _recipe(self, product: str) -> ProductConfig:
        try:
            settings = self._config.recipe(product)
        except NotFound as error:
            raise Refusal(Code.UNKNOWN, str(error)) from None
        if product not in self.models:
            raise Refusal(Code.NO_MODEL, f"no model is in service for product {product!r}; deploy one")
        return settings

    async def _fire_job(self, kind: str, job: str) -> None:
        await self._space.fire(kind, f"{kind}: {job}", source=AUTOMATIC, JobId=types.JobIdDataType(Id=job))

    # --- the job's file ---

    def _read_job(self) -> Job | None:
        try:
            raw = json.loads(self._job_file.read_bytes())
            return Job(lot=check_name(raw["lot"]), product=check_name(raw["product"]), opened=raw["opened"] is True)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.error("the job before this start is not known, %s cannot be read: %r", self._job_file, error)
            return None

    def _write_job(self, job: Job | None) -> None:
        self.job = job
        try:
            if job is None:
                self._job_file.unlink(missing_ok=True)
                return
            fresh = self._job_file.with_suffix(".new")
            fresh.write_text(json.dumps(asdict(job)), encoding="utf-8")
            fresh.replace(self._job_file)
        except OSError as error:
            log.error("the job would not outlive this process: %s", error)


def _named(text: str, what: str) -> None:
    try:
        check_name(text)
    except ValueError as error:
        raise Refusal(Code.INVALID, f"a {what} {error}") from None


def _agree(recipe: str, product: str) -> str:
    """The product that RecipeId and ProductId name; empty if neither does."""
    if recipe and product and recipe != product:
        raise Refusal(Code.INVALID, f"RecipeId {recipe!r} and ProductId {product!r} differ; a recipe is named by its product")
    return recipe or product


def _check(lot: Lot, wanted: str) -> None:
    if lot.state is not LotState.OPEN:
        raise Refusal(Code.CLOSED_LOT, f"lot {lot.lot!r} is closed; open a new lot")
    if wanted and wanted != lot.product:
        raise Refusal(Code.INVALID, f"lot {lot.lot!r} is of product {lot.product!r}, not {wanted!r}")
