"""The handshake with the PLC, bit by bit, on a clock of the test."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from plc_peers import LINE_LIVES, SETTINGS, PlcBench

from inspection.domain import Output, Reason, Verdict
from inspection.plc.codes import LATE, PLC_WAS_AWAY, REASON_CODES, VERDICT_CODES, Control, ErrorCode, OfflineReason, Status
from inspection.plc.registers import decode_outputs, encode


@pytest.fixture
def plc() -> PlcBench:
    bench = PlcBench()
    bench.start()
    return bench


def test_a_part_goes_from_trigger_to_accept(plc: PlcBench) -> None:
    request = plc.trigger("SN1")
    assert request is not None
    assert (request.lot, request.serial, request.camera, request.reply_to, request.passed) == ("L1", "SN1", "top", "plc", False)
    assert plc.shown.status == Status.ONLINE | Status.SYSTEM_BUSY

    plc.step(plc.ack(request, 70_000))
    assert plc.shown.status == Status.ONLINE | Status.SYSTEM_BUSY | Status.TRIGGER_ACK | Status.EXPOSE
    assert plc.shown.acquisition_id == 70_000 & 0xFFFF
    plc.clear(Control.TRIGGER)
    assert plc.shown.status == Status.ONLINE | Status.SYSTEM_BUSY | Status.TRIGGER_READY

    plc.step(plc.command(request, 70_000))
    ready = Status.ONLINE | Status.TRIGGER_READY | Status.EXPOSURE_COMPLETE | Status.INSPECTION_COMPLETED
    assert plc.shown.status == ready | Status.RESULTS_VALID | Status.PASS
    assert (plc.shown.inspection_id, plc.shown.serial, plc.shown.model) == (70_000, "SN1", "01234567")
    assert (plc.shown.verdict, plc.shown.reason, plc.shown.score_x1000) == (1, 0, 812)

    plc.set(Control.RESULTS_ACK)
    assert plc.shown.status == ready
    assert (plc.shown.inspection_id, plc.shown.serial) == (0, "")
    plc.clear(Control.RESULTS_ACK)
    second = plc.part("SN2", 70_001)
    plc.step(plc.command(second, 70_001, Output.REJECT, Verdict.FAIL))
    assert Status.INSPECTION_COMPLETED not in plc.shown.status, "it toggles"
    assert Status.PASS not in plc.shown.status
    assert plc.shown.verdict == VERDICT_CODES[Verdict.FAIL]
    assert plc.faults == []


def test_lot_and_serial_are_those_that_stand_at_the_edge(plc: PlcBench) -> None:
    request = plc.trigger("SN1")
    assert request is not None
    plc.inputs = replace(plc.inputs, serial="SN2", lot="L2")
    plc.step(plc.ack(request, 1))
    plc.step(plc.command(request, 1))
    assert plc.shown.serial == "SN1"
    assert len(plc.requests) == 1


def test_nothing_is_taken_before_the_exposure_window_of_a_former_gateway_is_over() -> None:
    plc = PlcBench()
    plc.step()
    plc.wait(40)
    assert plc.shown.status == Status.ONLINE
    assert plc.trigger("SN1") is None
    plc.clear(Control.TRIGGER)
    plc.wait(40)
    assert plc.trigger("SN1") is not None


def test_a_trigger_that_was_held_before_the_gateway_started_is_no_edge() -> None:
    plc = PlcBench()
    plc.set(Control.TRIGGER)
    plc.wait(200)
    assert plc.requests == []
    assert plc.faults == []
    plc.clear(Control.TRIGGER)
    assert plc.trigger("SN1") is not None


@pytest.mark.parametrize(
    "why", ["disabled", "enabled by the same write", "disabled by the same write", "unnumbered", "set offline", "no line"]
)
def test_a_trigger_while_not_ready_is_missed_and_counted(plc: PlcBench, why: str) -> None:
    if why == "unnumbered":
        plc.trigger("SN0")
        plc.clear(Control.TRIGGER)
    elif why == "set offline":
        plc.set(Control.SET_OFFLINE)
        assert plc.shown.offline is OfflineReason.SET_OFFLINE
    elif why == "no line":
        plc.line_lives = False
        plc.wait(2_100)
        assert plc.shown.offline is OfflineReason.LINE_DOWN
    elif why == "disabled by the same write":
        plc.inputs = replace(plc.inputs, control=Control(0))
    else:
        plc.clear(Control.TRIGGER_ENABLE)
        if why == "enabled by the same write":
            plc.inputs = replace(plc.inputs, control=Control.TRIGGER_ENABLE)
    assert plc.trigger("SN1") is None
    assert Status.MISSED_ACQUISITION in plc.shown.status
    assert Status.TRIGGER_ACK not in plc.shown.status
    assert plc.shown.error is ErrorCode.MISSED_ACQUISITION
    assert plc.kinds() == ["missed_acquisition"]
    assert "SN1" in plc.faults[0].detail
    plc.wait(100)
    assert plc.kinds() == ["missed_acquisition"], "once for an edge"
    plc.set(Control.CLEAR_ERROR)
    assert not plc.shown.status & (Status.MISSED_ACQUISITION | Status.ERROR)


def test_a_missed_trigger_is_not_acknowledged_as_the_part_before(plc: PlcBench) -> None:
    plc.part("SN1", 1)
    plc.clear(Control.TRIGGER_ENABLE)
    plc.trigger("SN2")
    assert not plc.shown.status & (Status.TRIGGER_ACK | Status.EXPOSE)


@pytest.mark.parametrize(("lot", "serial"), [("", "SN1"), ("L1", ""), (None, "SN1"), ("L1", None)])
def test_parts_without_a_name_are_refused(plc: PlcBench, lot: str | None, serial: str | None) -> None:
    assert plc.trigger(serial, lot) is None
    assert plc.kinds() == ["invalid_part"]
    assert plc.shown.error is ErrorCode.INVALID_PART
    plc.clear(Control.TRIGGER)
    assert plc.trigger("SN2") is not None
    assert Status.MISSED_ACQUISITION not in plc.shown.status


def test_the_edge_is_allowed_until_the_window_ends(plc: PlcBench) -> None:
    request = plc.trigger("SN1")
    assert request is not None
    plc.step(plc.ack(request, 1, 50))
    plc.wait(40)
    assert Status.EXPOSE in plc.shown.status
    assert Status.EXPOSURE_COMPLETE not in plc.shown.status
    plc.wait(20)
    assert Status.EXPOSE not in plc.shown.status
    assert plc.shown.status & (Status.EXPOSURE_COMPLETE | Status.TRIGGER_ACK) == Status.EXPOSURE_COMPLETE | Status.TRIGGER_ACK


def test_the_stations_own_trigger_is_acknowledged_without_expose(plc: PlcBench) -> None:
    request = plc.trigger("SN1")
    assert request is not None
    plc.step(plc.ack(request, 1, None))
    assert plc.shown.status & (Status.TRIGGER_ACK | Status.EXPOSE | Status.EXPOSURE_COMPLETE) == Status.TRIGGER_ACK
    plc.step(plc.command(request, 1))
    assert Status.EXPOSURE_COMPLETE in plc.shown.status


def test_a_trigger_that_is_dropped_before_it_is_numbered_is_given_up(plc: PlcBench) -> None:
    request = plc.trigger("SN1")
    assert request is not None
    plc.clear(Control.TRIGGER)
    assert Status.TRIGGER_READY not in plc.shown.status
    plc.step(plc.ack(request, 1))
    assert not plc.shown.status & (Status.TRIGGER_ACK | Status.EXPOSE)
    assert Status.TRIGGER_READY in plc.shown.status
    # Nor does the next one inherit its edge.
    plc.trigger("SN2")
    assert not plc.shown.status & (Status.TRIGGER_ACK | Status.EXPOSE)


def test_an_accept_after_the_deadline_is_shown_as_late(plc: PlcBench) -> None:
    request = plc.part("SN1", 1)
    plc.wait(320)
    plc.step(plc.command(request, 1))
    assert plc.shown.status & (Status.RESULTS_VALID | Status.PASS) == Status.RESULTS_VALID
    assert (plc.shown.verdict, plc.shown.reason) == (VERDICT_CODES[Verdict.PASS], LATE)
    assert plc.kinds() == ["accept_not_given"]


def test_an_accept_that_was_not_read_is_withdrawn_at_the_deadline(plc: PlcBench) -> None:
    request = plc.part("SN1", 1)
    plc.step(plc.command(request, 1))
    assert Status.PASS in plc.shown.status
    plc.wait(320)
    assert plc.shown.status & (Status.RESULTS_VALID | Status.PASS) == Status.RESULTS_VALID


def test_a_part_that_was_numbered_twice_is_not_accepted(plc: PlcBench) -> None:
    request = plc.part("SN1", 1)
    plc.step(plc.ack(request, 2), plc.command(request, 2))
    assert plc.shown.inspection_id == 2
    assert Status.PASS not in plc.shown.status


def test_an_accept_for_a_part_that_was_never_numbered_is_not_given(plc: PlcBench) -> None:
    request = plc.trigger("SN1")
    assert request is not None
    plc.step(plc.command(request, 5))
    assert plc.shown.status & (Status.RESULTS_VALID | Status.PASS) == Status.RESULTS_VALID


def test_what_nobody_asked_for_changes_nothing(plc: PlcBench) -> None:
    request = plc.part("SN1", 1)
    plc.step(plc.command(request, 1))
    plc.acknowledge()
    before = plc.shown
    stranger = msgspec.structs.replace(request, request_id="of a former gateway")
    plc.step(plc.ack(stranger, 9), plc.command(stranger, 9), plc.command(request, 1), plc.ack(request, 1))
    assert plc.shown == before


def test_up_to_eight_results_wait_for_their_turn(plc: PlcBench) -> None:
    plc.set(Control.BUFFER_RESULTS_ENABLE)
    requests = [plc.part(f"SN{number}", number) for number in range(1, 9)]
    for number, request in enumerate(requests, 1):
        plc.step(plc.command(request, number))
    assert (plc.shown.serial, plc.shown.results_queued) == ("SN1", 7)
    for number in range(1, 9):
        assert (plc.shown.serial, plc.shown.inspection_id) == (f"SN{number}", number)
        assert Status.PASS in plc.shown.status
        plc.set(Control.RESULTS_ACK)
        assert Status.RESULTS_VALID not in plc.shown.status
        plc.clear(Control.RESULTS_ACK)
    assert Status.RESULTS_VALID not in plc.shown.status
    assert plc.faults == []


def test_of_a_full_buffer_the_oldest_that_waits_is_dropped(plc: PlcBench) -> None:
    plc.set(Control.BUFFER_RESULTS_ENABLE)
    for number in range(1, 10):
        plc.step(plc.command(plc.part(f"SN{number}", number), number))
    assert Status.RESULTS_BUFFER_OVERRUN in plc.shown.status
    assert plc.shown.error is ErrorCode.RESULTS_BUFFER_OVERRUN
    assert plc.kinds() == ["results_buffer_overrun"]
    assert "SN2" in plc.faults[0].detail
    shown = []
    while Status.RESULTS_VALID in plc.shown.status:
        shown.append(plc.shown.serial)
        plc.acknowledge()
    assert shown == ["SN1", "SN3", "SN4", "SN5", "SN6", "SN7", "SN8", "SN9"]
    plc.set(Control.CLEAR_ERROR)
    assert Status.RESULTS_BUFFER_OVERRUN not in plc.shown.status


def test_results_of_parts_that_are_gone_push_out_none_that_can_be_accepted(plc: PlcBench) -> None:
    plc.set(Control.BUFFER_RESULTS_ENABLE)
    gone = [plc.part(f"GONE{number}", number) for number in range(1, 11)]
    plc.wait(320)
    here = [plc.part(f"SN{number}", number) for number in range(11, 15)]
    for place, request in enumerate([*gone[:5], *here, *gone[5:]]):
        number = gone.index(request) + 1 if request in gone else here.index(request) + 11
        plc.step(plc.command(request, number))
        assert place < 8 or "results_buffer_overrun" in plc.kinds()
    accepted = []
    while Status.RESULTS_VALID in plc.shown.status:
        accepted += [plc.shown.serial] if Status.PASS in plc.shown.status else []
        plc.acknowledge()
    assert accepted == [request.serial for request in here]


def test_without_a_buffer_a_result_replaces_the_one_before(plc: PlcBench) -> None:
    for number in range(1, 3):
        plc.step(plc.command(plc.part(f"SN{number}", number), number))
    assert plc.shown.serial == "SN2"
    assert plc.kinds() == ["results_buffer_overrun"]
    plc.acknowledge()
    assert Status.RESULTS_VALID not in plc.shown.status


def test_a_plc_whose_heartbeat_stops_gets_no_accept_for_parts_from_before(plc: PlcBench) -> None:
    plc.set(Control.BUFFER_RESULTS_ENABLE)
    requests = [plc.part(f"SN{number}", number) for number in range(1, 4)]
    plc.step(plc.command(requests[0], 1), plc.command(requests[1], 2))
    assert Status.PASS in plc.shown.status
    plc.plc_lives = False
    plc.wait(220)
    assert (plc.shown.offline, plc.shown.error) == (OfflineReason.PLC_HEARTBEAT, ErrorCode.PLC_HEARTBEAT)
    assert not plc.shown.status & (Status.PASS | Status.TRIGGER_READY | Status.ONLINE)
    assert plc.kinds() == ["plc_heartbeat"]
    plc.wait(200)
    assert plc.kinds() == ["plc_heartbeat"], "once"

    plc.plc_lives = True
    plc.wait(20)
    plc.step(plc.command(requests[2], 3))
    for number in range(1, 4):
        assert (plc.shown.serial, plc.shown.reason) == (f"SN{number}", LATE if number == 3 else PLC_WAS_AWAY)
        assert Status.PASS not in plc.shown.status
        plc.acknowledge()
    assert Status.TRIGGER_READY not in plc.shown.status
    plc.wait(60)
    fresh = plc.part("SN4", 4)
    plc.step(plc.command(fresh, 4))
    assert Status.PASS in plc.shown.status
    assert Status.ERROR in plc.shown.status, "until Clear Error"


def test_a_trigger_that_is_held_while_the_plc_is_away_is_dropped_with_it(plc: PlcBench) -> None:
    request = plc.trigger("SN1")
    assert request is not None
    plc.plc_lives = False
    plc.wait(220)
    plc.step(plc.ack(request, 1))
    plc.plc_lives = True
    plc.wait(20)
    assert not plc.shown.status & (Status.TRIGGER_ACK | Status.EXPOSE)


def test_while_the_line_is_away_nothing_is_accepted_and_what_it_missed_is_asked_for_when_it_is_back(plc: PlcBench) -> None:
    request = plc.part("SN1", 1)
    plc.line_lives = False
    plc.wait(2_100)
    assert plc.shown.offline is OfflineReason.LINE_DOWN
    asked = len(plc.requests)
    plc.wait(10_000)
    assert len(plc.requests) == asked, "nothing piles up for a line that is away"
    plc.line_lives = True
    plc.wait(100)
    again = plc.requests[-1]
    assert (again.request_id, again.passed) == (request.request_id, True)
    plc.wait(1_100)
    assert plc.requests[-2:] == [again, again], "until the row is known"
    plc.step(plc.command(request, 1, Output.REJECT, Verdict.NOT_INSPECTED, Reason.LINE_DOWN))
    assert plc.shown.reason == REASON_CODES[Reason.LINE_DOWN]
    before = len(plc.requests)
    plc.wait(3_000)
    assert len(plc.requests) == before


def test_an_answer_to_a_repeated_request_allows_no_exposure(plc: PlcBench) -> None:
    request = plc.trigger("SN1")
    assert request is not None
    plc.wait(1_400)
    assert plc.requests[-1].passed
    plc.step(plc.ack(request, 1, 5_000))
    assert Status.EXPOSE not in plc.shown.status


def test_set_offline_drops_a_shown_accept(plc: PlcBench) -> None:
    plc.step(plc.command(plc.part("SN1", 1), 1))
    plc.set(Control.SET_OFFLINE)
    assert not plc.shown.status & (Status.PASS | Status.ONLINE)
    plc.clear(Control.SET_OFFLINE)
    assert Status.PASS in plc.shown.status


def test_misses_in_a_row_ask_the_plc_to_stop(plc: PlcBench) -> None:
    def result(number: int, verdict: Verdict, wait_ms: float = 0) -> None:
        request = plc.part(f"SN{number}", number)
        plc.wait(wait_ms)
        output = Output.ACCEPT if verdict is Verdict.PASS else Output.REJECT
        plc.step(plc.command(request, number, output, verdict))
        plc.acknowledge()

    result(1, Verdict.NOT_INSPECTED)
    result(2, Verdict.NOT_INSPECTED)
    result(3, Verdict.FAIL)  # in time: the row is broken
    result(4, Verdict.NOT_INSPECTED)
    result(5, Verdict.PASS, wait_ms=320)
    assert Status.STOP_REQUEST not in plc.shown.status
    result(6, Verdict.NOT_INSPECTED)
    assert Status.STOP_REQUEST in plc.shown.status
    assert plc.shown.error is ErrorCode.STOP_REQUEST
    result(7, Verdict.PASS)
    assert Status.STOP_REQUEST in plc.shown.status
    assert plc.kinds().count("stop_request") == 1
    plc.set(Control.CLEAR_ERROR)
    assert not plc.shown.status & (Status.STOP_REQUEST | Status.ERROR)


ACCEPT, REJECT = 2, 1


def test_the_rejector_confirms_part_by_part(plc: PlcBench) -> None:
    first, second = plc.part("SN1", 70_001), plc.part("SN2", 70_002)
    plc.step(plc.command(first, 70_001))
    plc.acknowledge()
    plc.step(plc.command(second, 70_002, Output.REJECT, Verdict.FAIL))
    plc.confirm(70_001 & 0xFFFF, ACCEPT)
    plc.confirm(70_002 & 0xFFFF, REJECT)
    plc.wait(1_000)
    assert plc.faults == []


@pytest.mark.parametrize(
    ("output", "kind", "error"),
    [
        (Output.REJECT, "reject_not_confirmed", ErrorCode.NOT_CONFIRMED),
        (Output.ACCEPT, "accept_not_confirmed", ErrorCode.NOT_CONFIRMED),
    ],
)
def test_an_output_without_confirmation_is_a_fault(plc: PlcBench, output: Output, kind: str, error: ErrorCode) -> None:
    request = plc.part("SN1", 1)
    plc.step(plc.command(request, 1, output, Verdict.PASS if output is Output.ACCEPT else Verdict.FAIL))
    plc.wait(680)
    assert plc.faults == []
    plc.wait(60)
    assert plc.kinds() == [kind]
    assert plc.shown.error is error


def test_a_part_that_was_accepted_without_a_command_is_an_error(plc: PlcBench) -> None:
    request = plc.part("SN1", 1)
    plc.step(plc.command(request, 1, Output.REJECT, Verdict.FAIL))
    plc.confirm(1, ACCEPT)
    assert plc.kinds() == ["accept_not_commanded"]
    assert plc.shown.error is ErrorCode.ACCEPT_NOT_COMMANDED
    assert "SN1" in plc.faults[0].detail


def test_an_accept_that_the_plc_did_not_take_is_told(plc: PlcBench) -> None:
    plc.step(plc.command(plc.part("SN1", 1), 1))
    plc.confirm(1, REJECT)
    assert plc.kinds() == ["accept_not_taken"]
    assert plc.shown.error is ErrorCode.NONE


def test_confirmations_that_were_overwritten_unknown_or_meaningless_are_told(plc: PlcBench) -> None:
    plc.part("SN1", 1)
    plc.part("SN2", 2)
    plc.confirm(2, REJECT, step=3)
    plc.confirm(9, REJECT)
    plc.confirm(1, 77)
    assert [(fault.kind, fault.count) for fault in plc.faults] == [
        ("confirmation_lost", 2),
        ("confirmation_unknown", 1),
        ("confirmation_invalid", 1),
    ]


def test_a_count_of_confirmations_from_before_the_start_is_none() -> None:
    plc = PlcBench()
    plc.step()
    plc.inputs = replace(plc.inputs, confirmations=812)
    plc.wait(200)
    assert plc.faults == []


def test_without_confirm_ms_nothing_is_to_be_confirmed() -> None:
    plc = PlcBench(replace(SETTINGS, confirm_ms=None))
    plc.start()
    plc.part("SN1", 1)
    plc.confirm(1, ACCEPT)
    plc.wait(5_000)
    assert plc.kinds() == []


def test_the_stations_heartbeat_changes_with_time(plc: PlcBench) -> None:
    before = plc.shown.heartbeat
    plc.wait(120)
    assert plc.shown.heartbeat != before


def test_scores_that_do_not_fit_are_bounded(plc: PlcBench) -> None:
    for number, (score, shown) in enumerate([(float("nan"), 0), (1e300, 2**31 - 1), (-1e300, -(2**31)), (None, 0)], 1):
        command = plc.command(plc.part(f"SN{number}", number), number)
        plc.step(msgspec.structs.replace(command, score=score, model=None))
        assert (plc.shown.score_x1000, plc.shown.model) == (shown, "")
        plc.acknowledge()


def test_a_line_that_speaks_again_is_online_again(plc: PlcBench) -> None:
    plc.line_lives = False
    plc.wait(2_100)
    assert Status.ONLINE not in plc.shown.status
    plc.step(LINE_LIVES)
    assert Status.ONLINE | Status.TRIGGER_READY in plc.shown.status


# --- serials from codes ---


def test_without_a_serial_in_the_registers_the_code_tells_it_where_that_is_configured() -> None:
    bench = PlcBench(replace(SETTINGS, serial_from_code=True))
    bench.start()
    request = bench.part_without_serial(7)
    assert request.serial is None
    shown = bench.step(bench.command(request, 7, serial="SN-Ж1"))
    assert Status.PASS in shown.status
    assert (shown.serial, shown.inspection_id) == ("SN-?1", 7)
    assert decode_outputs(encode(shown)) == shown
    bench.acknowledge()
    request = bench.part_without_serial(8)
    shown = bench.step(bench.command(request, 8, Output.REJECT, Verdict.NOT_INSPECTED, Reason.SERIAL_UNREAD))
    assert (shown.serial, shown.reason) == ("?8", REASON_CODES[Reason.SERIAL_UNREAD])
    # Text that is not plain ASCII is a mistake, and no empty register.
    assert bench.trigger(None) is None
    assert bench.kinds() == ["invalid_part"]


def test_elsewhere_a_trigger_without_a_serial_is_not_taken() -> None:
    bench = PlcBench()
    bench.start()
    assert bench.trigger("") is None
    assert bench.kinds() == ["invalid_part"]
