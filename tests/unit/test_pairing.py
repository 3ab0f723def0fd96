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
        assert give[type(first)](first) is None
        assert give[type(second)](second) == Pair(ticket(1), frame(1))
        assert len(pairing) == 0


def test_a_frame_exposed_before_its_ticket_was_issued_is_a_stray() -> None:
    pairing = Pairing()
    pairing.ticket(ticket(1, issued_ms=50))
    outcome = pairing.frame(frame(1, exposed_ms=40))
    assert isinstance(outcome, Extra)
    assert not outcome.stale


def test_a_frame_exposed_after_the_window_is_a_stray() -> None:
    pairing = Pairing()
    pairing.ticket(ticket(1, issued_ms=0))
    assert isinstance(pairing.frame(frame(1, exposed_ms=101)), Extra)


def test_a_frame_without_a_ticket_is_a_stray_after_a_while() -> None:
    pairing = Pairing()
    assert pairing.frame(frame(7)) is None
    assert pairing.expire(now_ns=100 * MS) == []
    assert [extra.frame.trigger_count for extra in pairing.expire(now_ns=1_000 * MS)] == [7]
    assert pairing.ticket(ticket(7)) is None


def test_frames_of_a_former_epoch_are_stale_and_never_pair() -> None:
    pairing = Pairing()
    pairing.frame(frame(1, epoch=1))
    stale = pairing.armed("top", 2)
    assert [extra.stale for extra in stale] == [True]
    pairing.ticket(ticket(1, epoch=2))
    late = pairing.frame(frame(1, epoch=1))
    assert isinstance(late, Extra)
    assert late.stale


@given(
    edges=st.lists(st.sampled_from(["part", "noise"]), min_size=1, max_size=40),
    lost=st.sets(st.integers(1, 40)),
    late_tickets=st.sets(st.integers(1, 40)),
)
def test_noise_on_the_trigger_line_never_gives_a_part_the_image_of_another(
    edges: list[str], lost: set[int], late_tickets: set[int]
) -> None:
    """Parts come every 10 ms. The line counts its own tickets; the camera counts all edges; noise comes between parts.

    A pair is right if the frame was exposed for that very part. After the first stray the line would arm the camera anew; the
    pairing alone must be safe until then.
    """
    pairing = Pairing()
    issued = 0
    truth: dict[int, int] = {}
    messages: list[tuple[int, object]] = []
    for counted, edge in enumerate(edges, start=1):
        now = counted * 10
        exposed = now + 1 if edge == "part" else now + 5
        if edge == "part":
            issued += 1
            truth[issued] = exposed
            messages.append((now + (4 if issued in late_tickets else 0), ticket(issued, issued_ms=now)))
        if counted not in lost:
            messages.append((exposed + 2, frame(counted, exposed_ms=exposed)))
    for _, message in sorted(messages, key=lambda item: item[0]):
        outcome = pairing.ticket(message) if isinstance(message, Ticket) else pairing.frame(message)
        if isinstance(outcome, Pair):
            assert outcome.ticket.trigger_count is not None
            assert outcome.frame.exposed_ns // MS == truth[outcome.ticket.trigger_count]
        if isinstance(outcome, Extra):
            break
