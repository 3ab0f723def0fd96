"""One camera as the line sees it: is it armed, which trigger count comes next, and when may it be armed again.

Pure. A camera is only armed while no edge can be on its way: an edge that was allowed before and came after would be counted as
the next one, and every later image would belong to its neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Lane:
    """``epoch`` is None until the camera confirmed it. ``quiet_at_ns``: no edge that the former line allowed can come later;
    ``edges`` are those allowed since and not known to have come: {(epoch, count): no later than}.

    ``pulse_ns`` is the length of a pulse on the camera's accept output, 0 without one. ``accepting`` is the exposure whose pulse
    is commanded and not known to have begun; after ``output_off_ns`` the output is low.
    """

    camera: str
    quiet_at_ns: int
    edges: dict[tuple[int, int], int] = field(default_factory=dict)
    epoch: int | None = None
    asked_epoch: int | None = None
    exact: bool = True
    wants_arming: bool = True
    next_count: int = 1
    misses: int = 0
    pulse_ns: int = 0
    accepting: tuple[int, int] | None = None
    output_off_ns: int = 0
    state: str = "waiting for the camera"

    @property
    def ready(self) -> bool:
        return self.epoch is not None

    def busy(self, now_ns: int) -> bool:
        """A camera that cannot prove which edge a frame belongs to gets the next one when the former can come no more."""
        self._forget_edges(now_ns)
        return not self.exact and bool(self.edges)

    def expose(self, now_ns: int, until_ns: int) -> tuple[int, int]:
        """(epoch, trigger count) of the exposure that is allowed now."""
        assert self.epoch is not None
        self._forget_edges(now_ns)
        count = self.next_count
        self.next_count += 1
        self.edges[self.epoch, count] = until_ns
        return self.epoch, count

    def _forget_edges(self, now_ns: int) -> None:
        """Those of parts that were not judged: they can come no more."""
        self.edges = {edge: until_ns for edge, until_ns in self.edges.items() if now_ns < until_ns}

    def edge_came(self, epoch: int, count: int) -> None:
        """A frame was judged as this exposure. A lost frame proves nothing: it may have been noise, and the edge is to come."""
        if self.exact:
            self.edges.pop((epoch, count), None)

    def accept(self, epoch: int, count: int) -> None:
        """A pulse for this exposure is commanded."""
        self.accepting = epoch, count

    def accept_done(self, epoch: int, count: int, begun_ns: int | None) -> None:
        """The pulse has begun, or never will."""
        if self.accepting == (epoch, count):
            self.accepting = None
            self.output_off_ns = self.output_off_ns if begun_ns is None else begun_ns + self.pulse_ns

    def signals(self, now_ns: int) -> bool:
        """May the accept output be on, now or soon? It would be taken for the accept of a part that is exposed now."""
        return self.accepting is not None or now_ns < self.output_off_ns

    def camera_ready(self) -> None:
        """The camera is open and not armed. It repeats this until it is, so a lost Arm is sent again."""
        self.epoch = None
        self.wants_arming = True

    def lost(self, state: str) -> None:
        """No exposure is allowed until the camera says that it is ready."""
        self.epoch = self.asked_epoch = None
        self.wants_arming = False
        self.state = state

    def rearm(self, state: str) -> None:
        """The camera lives, but its counts are not to be trusted."""
        self.epoch = None
        self.wants_arming = True
        self.state = state

    def arming_due(self, now_ns: int) -> int | None:
        """A new epoch number if the camera is to be armed now."""
        if not self.wants_arming or now_ns < self.quiet_at_ns or any(now_ns < until_ns for until_ns in self.edges.values()):
            return None
        self.edges.clear()
        self.wants_arming = False
        self.asked_epoch = now_ns
        if self.state != "desync":  # parts that pass until the camera is armed are told the cause
            self.state = "arming"
        return now_ns

    def armed(self, epoch: int, exact: bool = True, now_ns: int = 0) -> bool:
        """The camera confirmed an epoch; False if it is not the one asked for last.

        It signals no accept of a former epoch any more, but a pulse may just have begun.
        """
        if epoch != self.asked_epoch:
            return False
        self.epoch, self.asked_epoch, self.next_count, self.misses = epoch, None, 1, 0
        self.exact = exact
        self.accepting, self.output_off_ns = None, now_ns + self.pulse_ns
        self.state = "armed"
        return True
