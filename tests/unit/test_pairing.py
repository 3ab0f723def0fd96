"""Which frame decides which trigger."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cameras.messages import FrameRef
from inspection.messages import Ticket
from inspection.pairing import Extra, Pair, Pairing

MS = 1_000_000


def ticket(count: int, epoch: int = 1, issued_ms: int = 0) -> Ticket:
    return Ticket(
        trigger_id=epoch * 1_000 + count,
        line_epoch=1,
        request_id=f"r{epoch}-{count}",
        lot="L",
        serial=f"S{count}",
        camera="top",
        product="p",
        camera_epoch=epoch,
        trigger_count=count,
        triggered_at=0,
        requested_ns=issued_ms * MS,
        issued_ns=issued_ms * MS,
        expose_until_ns=(issued_ms + 100) * MS,
        deadline_ms=500,
    )


def frame(count: int, epoch: int = 1, exposed_ms: int = 1, error_ns: int = 1_000) -> FrameRef:
    return FrameRef(
        camera="top",
        camera_epoch=epoch,
        ring="top.ring",
        slot=0,
        slot_seq=count,
        pixel_format="Mono8",
        width=8,
        height=8,
        frame_id=count,
        trigger_count=count,
        timestamp_ns=exposed_ms * MS,
        exposed_ns=exposed_ms * MS,
        clock_error_ns=error_ns,
        received_ns=(exposed_ms + 1) * MS,
        exposure_us=None,
    )


def test_ticket_and_frame_find_each_other_in_either_order() -> None:
    for first, second in ((ticket(1), frame(1)), (frame(1), ticket(1))):
        pairing = Pairing()
        give = {Ticket: pairing.ticket, FrameRef: pairing.frame}
        assert give[type(first)](first) == []
        assert give[type(second)](second) == [Pair(ticket(1), frame(1))]
        assert len(pairing) == 0


def test_a_frame_exposed_before_its_ticket_was_issued_is_a_stray() -> None:
    pairing = Pairing()
    pairing.ticket(ticket(1, issued_ms=50))
    (outcome,) = pairing.frame(frame(1, exposed_ms=40))
    assert isinstance(outcome, Extra)
    assert not outcome.stale


def test_a_frame_exposed_after_the_window_is_a_stray() -> None:
    pairing = Pairing()
    pairing.ticket(ticket(1, issued_ms=0))
    (outcome,) = pairing.frame(frame(1, exposed_ms=101))
    assert isinstance(outcome, Extra)


def test_a_frame_without_a_ticket_is_a_stray_after_a_while() -> None:
    pairing = Pairing()
    assert pairing.frame(frame(7)) == []
    assert pairing.expire(now_ns=100 * MS) == []
    assert [extra.frame.trigger_count for extra in pairing.expire(now_ns=1_000 * MS)] == [7]
    assert pairing.ticket(ticket(7)) == []


def test_frames_of_a_former_epoch_are_stale_and_never_pair() -> None:
    pairing = Pairing()
    pairing.frame(frame(1, epoch=1))
    stale = pairing.armed("top", 2)
    assert [extra.stale for extra in stale] == [True]
    pairing.ticket(ticket(1, epoch=2))
    (late,) = pairing.frame(frame(1, epoch=1))
    assert isinstance(late, Extra)
    assert late.stale


def test_after_an_edge_that_was_allowed_and_never_raised_no_frame_of_the_epoch_decides_anything() -> None:
    """The line was held up once it had numbered part 1, whose edge was given up; parts 2, 3 and 4 follow at 25 ms."""
    pairing = Pairing()
    pairing.ticket(ticket(1, issued_ms=0))
    for count in (2, 3, 4):
        pairing.ticket(ticket(count, issued_ms=3_000 + 25 * count))
    # The camera counts from the first edge that came, that of part 2.
    (first,) = pairing.frame(frame(1, exposed_ms=3_051))
    assert isinstance(first, Extra)
    assert not first.stale
    # Part 3's edge, within the window of part 2: counts and times agree.
    (second,) = pairing.frame(frame(2, exposed_ms=3_076))
    assert isinstance(second, Extra)
    assert second.stale
    assert pairing.ticket(ticket(5, issued_ms=3_150)) == []
    assert [type(each) for each in pairing.frame(frame(3, exposed_ms=3_101))] == [Extra]
    pairing.armed("top", 2)
    pairing.ticket(ticket(1, epoch=2, issued_ms=3_300))
    assert [type(each) for each in pairing.frame(frame(1, epoch=2, exposed_ms=3_301))] == [Pair]


def test_a_frame_without_a_ticket_holds_up_those_behind_it_until_it_is_known_what_it_is() -> None:
    """The ticket of part 1 went with a former inspector, and its edge was never raised."""
    pairing = Pairing()
    pairing.ticket(ticket(2, issued_ms=0))
    assert pairing.frame(frame(1, exposed_ms=1)) == []
    assert pairing.frame(frame(2, exposed_ms=26)) == []
    found = pairing.expire(now_ns=300 * MS)
    assert [(type(each), each.frame.trigger_count) for each in found] == [(Extra, 1), (Extra, 2)]
    assert len(pairing) == 0


def test_frames_are_taken_in_order_when_the_first_one_s_ticket_comes_last() -> None:
    pairing = Pairing()
    tickets = {count: ticket(count, issued_ms=10 * count) for count in (1, 2, 3)}
    frames = {count: frame(count, exposed_ms=10 * count + 1) for count in (1, 2, 3)}
    for each in frames.values():
        assert pairing.frame(each) == []
    pairing.ticket(tickets[2])
    pairing.ticket(tickets[3])
    assert pairing.ticket(tickets[1]) == [Pair(tickets[count], frames[count]) for count in (1, 2, 3)]


def test_a_part_s_edge_comes_before_the_next_part_is_asked_for_unless_the_station_raises_it() -> None:
    """Part 1 is given up by whoever raises its edge, and part 2 comes within the window of part 1."""
    for software, kind in (((), Extra), (("top",), Pair)):
        pairing = Pairing(software_triggered=software)
        pairing.ticket(ticket(1, issued_ms=0))
        pairing.ticket(ticket(2, issued_ms=30))
        (found,) = pairing.frame(frame(1, exposed_ms=31))
        assert isinstance(found, kind)


def test_a_camera_that_waits_between_edge_and_exposure_exposes_after_the_next_part_was_asked_for() -> None:
    pairing = Pairing()
    pairing.armed("top", 1, trigger_delay_ns=20 * MS)
    pairing.ticket(ticket(1, issued_ms=0))
    pairing.ticket(ticket(2, issued_ms=15))
    assert [type(each) for each in pairing.frame(frame(1, exposed_ms=21))] == [Pair]
    (found,) = pairing.frame(frame(2, exposed_ms=36))
    assert isinstance(found, Pair)
    pairing.ticket(ticket(3, issued_ms=30))
    pairing.ticket(ticket(4, issued_ms=45))
    # Raised at 46: for part 4.
    assert [type(each) for each in pairing.frame(frame(3, exposed_ms=66))] == [Extra]


def test_a_frame_from_before_the_start_does_not_spoil_those_behind_it() -> None:
    pairing = Pairing(started_ns=10 * MS)
    pairing.frame(frame(1, exposed_ms=1))
    pairing.ticket(ticket(2, issued_ms=20))
    assert pairing.frame(frame(2, exposed_ms=21)) == []
    former, pair = pairing.expire(now_ns=260 * MS)
    assert isinstance(former, Extra)
    assert former.stale
    assert isinstance(pair, Pair)


@given(
    edges=st.lists(st.sampled_from(["part", "part", "not raised"]), min_size=1, max_size=40),
    lost=st.sets(st.integers(1, 40)),
)
def test_edges_that_are_never_raised_never_give_a_part_the_image_of_another(edges: list[str], lost: set[int]) -> None:
    check(edges, lost, set())


@given(
    edges=st.lists(st.sampled_from(["part", "noise"]), min_size=1, max_size=40),
    lost=st.sets(st.integers(1, 40)),
    late_tickets=st.sets(st.integers(1, 40)),
)
def test_noise_on_the_trigger_line_never_gives_a_part_the_image_of_another(
    edges: list[str], lost: set[int], late_tickets: set[int]
) -> None:
    check(edges, lost, late_tickets)


def check(edges: list[str], lost: set[int], late_tickets: set[int]) -> None:
    """Parts come every 10 ms. The line counts its own tickets; the camera counts all edges; noise comes between parts, and some
    edges that were allowed are never raised.

    A pair is right if the frame was exposed for that very part. After the first stray the line arms the camera anew; the pairing
    alone is safe until then, however long that takes.
    """
    pairing = Pairing()
    issued = counted = 0
    truth: dict[int, int] = {}
    messages: list[tuple[int, object]] = []
    for number, edge in enumerate(edges, start=1):
        now = number * 10
        exposed = now + 5 if edge == "noise" else now + 1
        if edge != "noise":
            issued += 1
            truth[issued] = exposed if edge == "part" else 0
            messages.append((now + (4 if issued in late_tickets else 0), ticket(issued, issued_ms=now)))
        if edge != "not raised":
            counted += 1
            if counted not in lost:
                messages.append((exposed + 2, frame(counted, exposed_ms=exposed)))
    for _, message in sorted(messages, key=lambda item: item[0]):
        for outcome in pairing.ticket(message) if isinstance(message, Ticket) else pairing.frame(message):
            if isinstance(outcome, Pair):
                assert outcome.ticket.trigger_count is not None
                assert outcome.frame.exposed_ns // MS == truth[outcome.ticket.trigger_count]
