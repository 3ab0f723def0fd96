"""The real Modbus server in the real process, with the line and the recorder played by the test, and Debian's mbpoll as a PLC."""

from __future__ import annotations

import random
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from peers import Peer, in_thread
from pymodbus.client import ModbusTcpClient
from pymodbus.constants import ExcCodes

from cameras.bus import Bus
from cameras.messages import FaultReport, Heartbeat
from inspection.config import PlcConfig
from inspection.domain import Output, Verdict
from inspection.messages import LineMessage, OutputCommand, PlcMessage, RecorderMessage, TriggerAck, TriggerRequest
from inspection.plc.codes import Control, Status
from inspection.plc.process import PlcProcess
from inspection.plc.registers import HOLDING_COUNT, INPUT_COUNT, Inputs, Outputs, decode_outputs, encode

READY = Status.ONLINE | Status.TRIGGER_READY


class Gateway:
    """The process in a thread, on a free port; ``line`` and ``recorder`` are the test's."""

    def __init__(self, run_dir: Path, watchdog_ms: float, allowed_clients: tuple[str, ...]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.config = PlcConfig.model_validate(
            {
                "port": self.port,
                "camera": "top",
                "allowed_clients": allowed_clients,
                "watchdog_ms": watchdog_ms,
                "rejector_distance_mm": 20_000,
                "accept_window_mm": 0,
                "max_speed_mm_per_s": 1_000,
                "actuator_ms": 0,
            }
        )
        self.line = Peer(run_dir, "line", LineMessage)
        self.recorder = Peer(run_dir, "recorder", RecorderMessage)
        self.bus = Bus(run_dir, "plc", PlcMessage)
        self.process = PlcProcess(self.config, 50, self.bus)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def line_lives(self) -> None:
        self.line.send("plc", Heartbeat(process="line", at=time.time(), state="", counters={}))


@contextmanager
def gateway(watchdog_ms: float = 60_000, allowed_clients: tuple[str, ...] = ("127.0.0.1",)) -> Iterator[Gateway]:
    with tempfile.TemporaryDirectory(prefix="plc-") as run_dir:
        served = Gateway(Path(run_dir), watchdog_ms, allowed_clients)
        with in_thread(served.process, served.bus):
            served.recorder.expect(Heartbeat, lambda beat: beat.process == "plc" and not beat.state.startswith("cannot"))
            try:
                yield served
            finally:
                served.line.close()
                served.recorder.close()


@contextmanager
def client(served: Gateway) -> Iterator[ModbusTcpClient]:
    modbus = ModbusTcpClient("127.0.0.1", port=served.port, timeout=5, retries=0)
    assert modbus.connect()
    try:
        yield modbus
    finally:
        modbus.close()


def write(modbus: ModbusTcpClient, inputs: Inputs) -> None:
    assert not modbus.write_registers(0, encode(inputs)).isError()


def read(modbus: ModbusTcpClient) -> Outputs:
    return decode_outputs(modbus.read_input_registers(0, count=INPUT_COUNT).registers)


def wait_for(modbus: ModbusTcpClient, bits: Status) -> Outputs:
    until = time.monotonic() + 10
    while bits not in (shown := read(modbus)).status:
        assert time.monotonic() < until, shown
    return shown


def accept(request: TriggerRequest, trigger_id: int) -> OutputCommand:
    return OutputCommand(
        request_id=request.request_id,
        trigger_id=trigger_id,
        serial=request.serial or "READ-1",
        output=Output.ACCEPT,
        verdict=Verdict.PASS,
        reason=None,
        durable_ms=1.0,
        score=-1.25,
        model="feedc0de" * 8,
    )


def accept_parts(served: Gateway, modbus: ModbusTcpClient, numbers: range) -> None:
    """Whole parts, from trigger to acknowledged accept."""
    served.line_lives()
    enabled = Control.TRIGGER_ENABLE
    for heartbeat in (1, 2):
        write(modbus, Inputs(heartbeat=heartbeat, control=enabled))
    for number in numbers:
        wait_for(modbus, READY)
        write(modbus, Inputs(heartbeat=2, control=enabled | Control.TRIGGER, lot="L1", serial=f"SN{number}"))
        request = served.line.expect(TriggerRequest)
        served.line.send(
            "plc",
            TriggerAck(
                request_id=request.request_id, trigger_id=number, expose=True, expose_until_ns=time.monotonic_ns() + 10**10
            ),
        )
        assert wait_for(modbus, Status.TRIGGER_ACK | Status.EXPOSE).acquisition_id == number & 0xFFFF
        served.line.send("plc", accept(request, number))
        shown = wait_for(modbus, Status.RESULTS_VALID | Status.PASS)
        assert (shown.serial, shown.inspection_id) == (f"SN{number}", number)
        write(modbus, Inputs(heartbeat=2, control=enabled | Control.RESULTS_ACK))
        write(modbus, Inputs(heartbeat=2, control=enabled))


# --- another's implementation of Modbus ---

MBPOLL = shutil.which("mbpoll")


def mbpoll(served: Gateway, *arguments: str) -> dict[int, str]:
    """{address: value} of what was read."""
    assert MBPOLL is not None
    command = [MBPOLL, "-0", "-1", "-o", "5", "-p", str(served.port), *arguments[:-1], "127.0.0.1", *arguments[-1].split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.removeprefix("[").split("]:") for line in done.stdout.splitlines() if line.startswith("[")]
    return {int(address): value.split()[0] for address, value in lines}


@pytest.mark.skipif(MBPOLL is None, reason="mbpoll is not installed; Debian has it as the package mbpoll")
def test_mbpoll_triggers_a_part_and_reads_its_accept() -> None:
    def packed(text: str) -> str:
        return " ".join(str(number) for number in struct.unpack(f">{len(text) // 2}H", text.encode()))

    with gateway() as served:
        served.line_lives()
        for heartbeat in ("1", "2"):
            mbpoll(served, "-t4", "-r1", heartbeat)
        mbpoll(served, "-t4", "-r5", packed("LOT7"))
        mbpoll(served, "-t4", "-r37", packed("SN0042"))
        mbpoll(served, "-t4", "-r0", "1")
        assert mbpoll(served, "-t3", "-r0", "") == {0: str(int(READY))}
        mbpoll(served, "-t4", "-r0", "3")
        request = served.line.expect(TriggerRequest)
        assert (request.lot, request.serial) == ("LOT7", "SN0042")
        trigger_id = 3_000_000_017
        served.line.send("plc", TriggerAck(request_id=request.request_id, trigger_id=trigger_id, expose=False, expose_until_ns=0))
        served.line.send("plc", accept(request, trigger_id))
        served.recorder.expect(Heartbeat, lambda beat: beat.counters["triggers"] == 1 and beat.counters["pending"] == 0)
        status = Status(int(mbpoll(served, "-t3", "-r0", "")[0]))
        assert Status.TRIGGER_ACK | Status.RESULTS_VALID | Status.PASS in status
        assert mbpoll(served, "-t3:int", "-B", "-r6", "")[6] in {str(trigger_id), str(trigger_id - 2**32)}
        assert mbpoll(served, "-t3:int", "-B", "-r10", "")[10] == "-1250"
        echoed = mbpoll(served, "-t3:hex", "-r12", "-c7", "")
        raw = b"".join(bytes.fromhex(echoed[address].removeprefix("0x")) for address in range(12, 19))
        assert raw == b"feedc0deSN0042"
        # What was written can be read back.
        assert mbpoll(served, "-t4", "-r0", "-c2", "") == {0: "3", 1: "2"}


def test_parts_are_accepted_one_after_the_other() -> None:
    with gateway() as served, client(served) as modbus:
        accept_parts(served, modbus, range(65_530, 65_560))
        assert served.recorder.came(FaultReport) == []


# --- who may ---


def test_clients_that_are_not_allowed_are_disconnected() -> None:
    with gateway(allowed_clients=("192.0.2.0/24",)) as served, served.connect() as stranger:
        assert stranger.recv(16) == b""
        served.recorder.expect(Heartbeat, lambda beat: beat.process == "plc" and beat.counters["refused_clients"] == 1)


def test_only_one_connection_writes_at_a_time() -> None:
    with gateway() as served, client(served) as plc, client(served) as laptop:
        write(plc, Inputs(heartbeat=1))
        refused = laptop.write_registers(0, [0] * HOLDING_COUNT)
        assert refused.isError()
        assert refused.exception_code == ExcCodes.DEVICE_BUSY
        assert read(laptop) == read(laptop), "it may read"
        assert plc.read_holding_registers(1, count=1).registers == [1]
        plc.close()
        until = time.monotonic() + 10
        while laptop.write_registers(0, [0] * HOLDING_COUNT).isError():
            assert time.monotonic() < until, "the writer has left"


def test_a_writer_that_is_silent_is_replaced() -> None:
    """A PLC that was switched off does not close its connection."""
    with gateway(watchdog_ms=20) as served, client(served) as dead, client(served) as restarted:
        write(dead, Inputs(heartbeat=1))
        until = time.monotonic() + 10
        while restarted.write_register(1, 7).isError():
            assert time.monotonic() < until
        assert restarted.read_holding_registers(1, count=1).registers == [7]


def test_of_too_many_connections_the_most_silent_one_is_closed_and_never_the_one_that_writes() -> None:
    with gateway() as served, client(served) as plc, ExitStack() as stack:
        write(plc, Inputs(heartbeat=1))
        others = [stack.enter_context(served.connect()) for _ in range(20)]
        with client(served) as latest:
            read(latest)
            assert others[0].recv(16) == b""
            assert others[12].recv(16) == b""
            write(plc, Inputs(heartbeat=2))


def test_only_what_the_handshake_needs_is_answered() -> None:
    with gateway() as served, client(served) as modbus:
        for refused in (
            modbus.read_coils(0, count=1),
            modbus.read_discrete_inputs(0, count=1),
            modbus.write_coil(0, True),
            modbus.readwrite_registers(read_address=0, read_count=1, address=0, values=[1]),
            modbus.mask_write_register(address=0, and_mask=0, or_mask=1),
            modbus.diag_force_listen_only(no_response_expected=False),
            modbus.read_device_information(),
        ):
            assert refused.isError()
            assert refused.exception_code == ExcCodes.ILLEGAL_FUNCTION
        for outside in (
            modbus.read_input_registers(0, count=INPUT_COUNT + 1),
            modbus.read_holding_registers(HOLDING_COUNT, count=1),
            modbus.write_registers(HOLDING_COUNT - 1, [1, 2]),
            modbus.write_register(60_000, 1),
        ):
            assert outside.isError()
            assert outside.exception_code == ExcCodes.ILLEGAL_ADDRESS
        assert modbus.read_holding_registers(0, count=HOLDING_COUNT).registers == [0] * HOLDING_COUNT


# --- what is not Modbus ---


def frame(transaction: int, pdu: bytes, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def receive(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """(transaction, PDU) of so many answers."""
    answers, raw = [], b""
    while len(answers) < count:
        chunk = connection.recv(4_096)
        assert chunk, f"closed after {answers}"
        raw += chunk
        while len(raw) >= 6 and len(raw) >= (size := 6 + struct.unpack(">H", raw[4:6])[0]):
            answers.append((struct.unpack(">H", raw[:2])[0], raw[7:size]))
            raw = raw[size:]
    return answers


def test_frames_that_come_together_or_in_pieces_are_all_answered_in_order() -> None:
    with gateway() as served, served.connect() as plc:
        frames = b"".join(frame(number, struct.pack(">BHH", 3, number, 1)) for number in range(40))
        plc.sendall(frames)
        assert [transaction for transaction, _ in receive(plc, 40)] == list(range(40))
        for place in range(0, len(frames), 5):
            plc.sendall(frames[place : place + 5])
        assert receive(plc, 40)[-1] == (39, b"\x03\x02\x00\x00")


def test_a_trigger_that_rises_and_falls_within_one_segment_is_an_edge() -> None:
    with gateway() as served, client(served) as modbus:
        accept_parts(served, modbus, range(1, 2))
        assert modbus.socket is not None
        enabled, trigger = Control.TRIGGER_ENABLE, Control.TRIGGER_ENABLE | Control.TRIGGER
        images = [Inputs(heartbeat=2, control=control, lot="L1", serial="SN2") for control in (trigger, enabled)]
        writes = [
            struct.pack(f">BHHB{HOLDING_COUNT}H", 16, 0, HOLDING_COUNT, 2 * HOLDING_COUNT, *encode(image)) for image in images
        ]
        modbus.socket.sendall(b"".join(frame(9, pdu) for pdu in writes))
        assert served.line.expect(TriggerRequest).serial == "SN2"


@pytest.mark.parametrize("seed", range(3))
def test_garbage_neither_ends_the_server_nor_moves_an_output(seed: int) -> None:
    chance = random.Random(seed)
    headers = (
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\0\x01\0\0\xff\xff\x01",
        b"\0\x01\0\0\0\x00",
        b"\0\x01\0\x07\0\x06",
    )
    with gateway() as served:
        for round_ in range(150):
            with served.connect() as attacker:
                kind = chance.randrange(3)
                if kind == 0:
                    raw = chance.choice(headers) + chance.randbytes(chance.randrange(600))
                elif kind == 1:  # a whole frame of a random function
                    raw = frame(round_, chance.randbytes(1 + chance.randrange(252)), chance.randrange(256))
                else:  # a function that is served, cut off or with lengths that lie
                    pdu = bytes([chance.choice((3, 4, 6, 16))]) + chance.randbytes(chance.randrange(24))
                    raw = frame(round_, pdu)
                attacker.sendall(raw)
                if chance.random() < 0.5:
                    attacker.shutdown(socket.SHUT_WR)
        with client(served) as modbus:
            holding = modbus.read_holding_registers(0, count=HOLDING_COUNT)
            assert not holding.isError()
            assert not read(modbus).status & (Status.PASS | Status.RESULTS_VALID)
            accept_parts(served, modbus, range(1, 3))


def test_a_client_that_does_not_read_its_answers_is_disconnected() -> None:
    with gateway() as served:
        with served.connect() as lazy:
            ask = frame(1, struct.pack(">BHH", 4, 0, INPUT_COUNT)) * 1_000
            with pytest.raises(OSError, match=r"reset|pipe"):
                lazy.sendall(ask * 10_000)
        with client(served) as modbus:
            read(modbus)


# --- the process itself ---


def test_an_address_that_is_taken_is_tried_again_and_told() -> None:
    with tempfile.TemporaryDirectory(prefix="plc-") as run_dir:
        served = Gateway(Path(run_dir), 60_000, ("127.0.0.1",))
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", served.port))
        taken.listen()
        with in_thread(served.process, served.bus):
            beat = served.recorder.expect(Heartbeat, lambda beat: beat.process == "plc")
            assert (beat.ok, beat.state) == (False, f"cannot listen on 127.0.0.1:{served.port}")
            taken.close()
            served.recorder.expect(Heartbeat, lambda beat: not beat.state.startswith("cannot"))
            with client(served) as modbus:
                read(modbus)
        served.line.close()
        served.recorder.close()


def test_the_process_tells_how_it_is_and_what_went_wrong() -> None:
    with gateway() as served, client(served) as modbus:
        beat = served.recorder.expect(Heartbeat)
        assert (beat.ok, beat.state) == (False, "offline, plc_heartbeat")
        accept_parts(served, modbus, range(1, 2))
        served.recorder.expect(Heartbeat, lambda beat: beat.ok and beat.state == "online")
        write(modbus, Inputs(heartbeat=2, control=Control.TRIGGER, serial="SN9"))
        fault = served.recorder.expect(FaultReport)
        assert (fault.source, fault.kind, fault.count) == ("plc", "missed_acquisition", 1)
        assert "SN9" in fault.detail
        served.recorder.expect(Heartbeat, lambda beat: beat.state == "online, error missed_acquisition")
