"""Do frame ids and trigger counts advance together? Pure: one object per epoch, fed with every frame that arrives."""

from __future__ import annotations

from dataclasses import dataclass

from cameras.messages import Loss

# GigE Vision 1.x block ids are 16 bit and skip 0.
_BLOCK_ID_WRAP = 65_535


@dataclass(frozen=True, slots=True)
class Step:
    """What one frame tells: counts without a frame and why; ``desync`` if ids and counts contradict each other."""

    lost: tuple[int, ...] = ()
    loss: Loss | None = None
    desync: str | None = None


class FrameSequence:
    """Checks the frames of one epoch. Trigger counts start at 1 with the first edge after arming."""

    def __init__(self) -> None:
        self._frame_id: int | None = None
        self._count = 0

    def observe(self, frame_id: int, count: int) -> Step:
        """One frame arrived.

        Counts and ids advanced alike, by more than one: frames were lost on the way. Counts advanced more than ids: the camera
        missed triggers, and nobody knows which of the counts in between had the lost frames, so all of them are lost. Anything
        else is a desync.
        """
        previous_id, previous_count = self._frame_id, self._count
        count_step = count - previous_count
        if count_step <= 0:
            return Step(desync=f"trigger count went from {previous_count} to {count}")
        id_step = count_step if previous_id is None else _advance(previous_id, frame_id)
        if id_step <= 0:
            return Step(desync=f"frame id went from {previous_id} to {frame_id} at trigger count {count}")
        if id_step > count_step:
            return Step(desync=f"{id_step} frames for {count_step} triggers at frame id {frame_id}")
        self._frame_id, self._count = frame_id, count
        if count_step == 1:
            return Step()
        lost = tuple(range(previous_count + 1, count))
        return Step(lost=lost, loss=Loss.FRAME_LOST if id_step == count_step else Loss.TRIGGER_MISSED)


def _advance(previous: int, current: int) -> int:
    if current < previous and previous <= _BLOCK_ID_WRAP and previous - current > _BLOCK_ID_WRAP // 2:
        return current - previous + _BLOCK_ID_WRAP
    return current - previous
