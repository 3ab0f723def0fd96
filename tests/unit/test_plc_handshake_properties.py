"""Whatever the PLC writes and the line says, in any order, late, twice or not at all: no part gets another part's accept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from plc_peers import LINE_LIVES, SETTINGS, PlcBench

from inspection.domain import Output, Reason, Verdict
from inspection.messages import OutputCommand, TriggerRequest
from inspection.plc.codes import Control, Status

_MS = 1_000_000


class Oracle:
    """What may be accepted, found out in another way than the handshake does: from what it was told, and when."""

    def __init__(self) -> None:
        self.bench = PlcBench(replace(SETTINGS, misses_to_stop=2))
        self.requests: dict[str, TriggerRequest] = {}
        self.numbers: dict[str, int] = {}
        self.first_number: dict[str, int] = {}
        self.named: dict[int, str] = {}
        self.accepts: dict[int, tuple[TriggerRequest, int]] = {}
        self.resolved: set[str] = set()
        self.changed_ns: int | None = None
        self.away_ns = 0
        self.line_ns = -(10**12)
        self.heartbeat = 0
        self.next_id = 1
        self.serial = 0

    # --- what may happen ---

    def beat(self) -> None:
        self.bench.inputs = replace(self.bench.inputs, heartbeat=(self.bench.inputs.heartbeat + 1) & 0xFFFF)

    def pass_time(self, ms: int) -> None:
        self.bench.now_ns += ms * _MS

    def control(self, bits: int) -> None:
        self.bench.inputs = replace(self.bench.inputs, control=Control(bits))

    def trigger(self) -> None:
        """As a PLC does: the next part, if it may; else out of turn."""
        self.serial += 1
        inputs = self.bench.inputs
        control = inputs.control | Control.TRIGGER_ENABLE | Control.TRIGGER
        self.bench.inputs = replace(inputs, control=control, lot="L", serial=f"S{self.serial}")

    def drop(self) -> None:
        control = self.bench.inputs.control & ~(Control.TRIGGER | Control.RESULTS_ACK) | Control.TRIGGER_ENABLE
        self.bench.inputs = replace(self.bench.inputs, control=control)

    def whole_part(self) -> list[object]:
        """Triggered, numbered and exposed, as it should be."""
        self.drop()
        self.step([])
        self.trigger()
        self.step([])
        self.step(self.number(-1, False))
        self.drop()
        return []

    def other_part(self, number: int) -> None:
        """Lot and serial change while no trigger rises."""
        self.bench.inputs = replace(self.bench.inputs, serial=f"X{number}")

    def acknowledge(self) -> None:
        self.bench.inputs = replace(self.bench.inputs, control=self.bench.inputs.control | Control.RESULTS_ACK)

    def confirm(self, acquisition: int, output: int) -> None:
        count = (self.bench.inputs.confirmations + 1) & 0xFFFF
        self.bench.inputs = replace(
            self.bench.inputs, confirmations=count, confirmed_acquisition=acquisition, confirmed_output=output
        )

    def number(self, place: int, anew: bool) -> list[object]:
        """The line numbers a request: once, again with the same number, or as another life of the line with a new one."""
        if not self.requests:
            return []
        request = list(self.requests.values())[place % len(self.requests)]
        if anew or request.request_id not in self.numbers:
            self.numbers[request.request_id] = self.next_id
            self.next_id += 1
        number = self.numbers[request.request_id]
        if request.request_id not in self.resolved:
            self.first_number.setdefault(request.request_id, number)
        return [self.bench.ack(request, number, 30)]

    def command(self, place: int, output: Output, verdict: Verdict) -> list[object]:
        if not self.numbers:
            return []
        request_id = list(self.numbers)[place % len(self.numbers)]
        number = self.numbers[request_id]
        reason = Reason.DEADLINE if verdict is Verdict.NOT_INSPECTED else None
        command = self.bench.command(self.requests[request_id], number, output, verdict, reason)
        if request_id not in self.resolved:
            self.resolved.add(request_id)
            self.named[number] = self.requests[request_id].serial
            if output is Output.ACCEPT and verdict is Verdict.PASS and self.first_number.get(request_id) == number:
                self.accepts[number] = self.requests[request_id], self.bench.now_ns
        return [command]

    def stranger(self, number: int) -> list[object]:
        """An answer for a gateway that is dead."""
        return [
            OutputCommand(
                request_id="stranger",
                trigger_id=number,
                serial="S",
                output=Output.ACCEPT,
                verdict=Verdict.PASS,
                reason=None,
                durable_ms=1.0,
            )
        ]

    def line_lives(self) -> list[object]:
        return [LINE_LIVES]

    # --- what must hold ---

    def step(self, heard: list[object]) -> None:
        bench = self.bench
        before = len(bench.requests)
        if self.changed_ns is not None and bench.now_ns - self.changed_ns > SETTINGS.watchdog_ms * _MS:
            self.away_ns, self.changed_ns = bench.now_ns, None
        if bench.inputs.heartbeat != self.heartbeat:
            self.changed_ns = bench.now_ns
            self.heartbeat = bench.inputs.heartbeat
        if heard:
            self.line_ns = bench.now_ns
        shown = bench.step(*heard)  # type: ignore[arg-type]
        for request in bench.requests[before:]:
            if request.passed:
                assert request == msgspec.structs.replace(self.requests[request.request_id], passed=True)
            else:
                assert request.request_id not in self.requests
                assert request.serial == bench.inputs.serial
                self.requests[request.request_id] = request
        if Status.RESULTS_VALID in shown.status:
            assert shown.serial == self.named[shown.inspection_id], "a result is shown for another part"
        else:
            assert (shown.inspection_id, shown.serial, shown.verdict) == (0, "", 0)
        if Status.PASS in shown.status:
            assert Status.RESULTS_VALID | Status.ONLINE in shown.status
            self.check_accept(shown.serial or "", shown.inspection_id)
        if Status.TRIGGER_READY in shown.status:
            assert Status.ONLINE in shown.status
            assert Control.TRIGGER not in bench.inputs.control
        if Status.EXPOSE in shown.status:
            assert Status.TRIGGER_ACK in shown.status
            assert Control.TRIGGER in bench.inputs.control

    def check_accept(self, serial: str, number: int) -> None:
        now_ns = self.bench.now_ns
        assert number in self.accepts, f"{serial} is accepted without a command of its own"
        request, commanded_ns = self.accepts[number]
        assert request.serial == serial
        deadline_ns = request.requested_ns + SETTINGS.deadline_ms * _MS
        assert commanded_ns <= deadline_ns, "the command came too late"
        assert now_ns <= deadline_ns, "it is shown too late"
        assert request.requested_ns >= self.away_ns, "the PLC was away since the part was triggered"
        assert self.changed_ns is not None, "the PLC is away"
        assert now_ns - self.line_ns <= 2_000 * _MS, "the line is away"
        assert Control.SET_OFFLINE not in self.bench.inputs.control


Happening = Callable[[Oracle], list[object] | None]


def happenings() -> st.SearchStrategy[Happening]:
    """Times around the limits that count: exposure window 50 ms, watchdog 200 ms, deadline 300 ms, silent line 2 s."""
    places = st.integers(-3, 2)
    times = st.sampled_from([1, 20, 20, 20, 45, 55, 110, 190, 210, 290, 310, 1_000, 2_010])
    plc = st.one_of(
        st.builds(lambda ms: lambda plc: plc.pass_time(ms), times),
        st.just(lambda plc: plc.whole_part()),
        st.just(lambda plc: plc.trigger()),
        st.just(lambda plc: plc.drop()),
        st.just(lambda plc: plc.acknowledge()),
        st.builds(lambda bits: lambda plc: plc.control(bits), st.integers(0, 63)),
        st.builds(lambda number: lambda plc: plc.other_part(number), st.integers(0, 9)),
        st.builds(lambda number, output: lambda plc: plc.confirm(number, output), st.integers(0, 5), st.integers(0, 3)),
    )
    line = st.one_of(
        st.builds(lambda place, anew: lambda plc: plc.number(place, anew), places, st.booleans()),
        st.builds(lambda place: lambda plc: plc.command(place, Output.ACCEPT, Verdict.PASS), places),
        st.builds(
            lambda place, output, verdict: lambda plc: plc.command(place, output, verdict),
            places,
            st.sampled_from(Output),
            st.sampled_from(Verdict),
        ),
        st.builds(lambda number: lambda plc: plc.stranger(number), st.integers(0, 9)),
        st.just(lambda plc: plc.line_lives()),
    )
    return st.one_of(plc, line)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(happenings(), st.integers(0, 4)), min_size=4, max_size=100))
def test_no_part_is_accepted_without_its_own_accept_in_time(story: list[tuple[Happening, int]]) -> None:
    oracle = Oracle()
    oracle.step([])
    for _ in range(8):
        oracle.pass_time(20)
        oracle.beat()
        oracle.step([LINE_LIVES])
    for happening, chance in story:
        heard = happening(oracle) or []
        if chance:  # one time in five, the PLC does not get to its heartbeat
            oracle.beat()
        oracle.step(heard)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40))
def test_where_all_keep_to_the_rules_every_good_part_is_accepted_and_no_other(parts: list[tuple[int, bool]]) -> None:
    """A part every 40 ms; its verdict comes so many parts later, perhaps before that of the part in front."""
    bench = PlcBench()
    bench.start()
    bench.set(Control.BUFFER_RESULTS_ENABLE)
    accepted: set[str] = set()
    commands: dict[int, list[OutputCommand]] = {}
    for number, (delay, good) in enumerate([*parts, *[(0, False)] * 7], 1):
        request = bench.part(f"S{number}", number)
        output, verdict = (Output.ACCEPT, Verdict.PASS) if good else (Output.REJECT, Verdict.FAIL)
        commands.setdefault(number + delay, []).append(bench.command(request, number, output, verdict))
        bench.wait(40)
        bench.step(*commands.pop(number, []))
        while Status.RESULTS_VALID in bench.shown.status:
            if Status.PASS in bench.shown.status:
                accepted.add(bench.shown.serial or "")
            bench.acknowledge()
    assert accepted == {f"S{number}" for number, (_, good) in enumerate(parts, 1) if good}
    assert set(bench.kinds()) <= {"reject_not_confirmed", "accept_not_confirmed"}
