"""What a training may choose: how large the network's input is, at how many levels it looks, and how much it remembers."""

from __future__ import annotations

from inspection import artifact
from inspection.preprocessing import input_size

LONGER_SIDE = 320
"""Pixels; larger inputs are also looked at halved, until they are not larger than this."""
LAYERS = ("blocks.2", "blocks.4")
BANK_PATCHES = 2_000
DEADLINE_MS = 1000.0
"""What a frame may take if nobody says otherwise: quality first, for a part a second even on a busy machine."""


Trial = artifact.Trial


class Design(artifact.Design, frozen=True):
    """A design and what follows from it."""

    longer_side: int = LONGER_SIDE
    levels: int = 1
    layers: tuple[str, ...] = LAYERS
    bank_patches: int = BANK_PATCHES

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """The network's input (width, height) for frames of this size: each level a multiple of the features' stride."""
        factor = 2 ** (self.levels - 1)
        smallest = input_size(width, height, round(self.longer_side / factor))
        return smallest[0] * factor, smallest[1] * factor

    def __str__(self) -> str:
        sides = " + ".join(str(self.longer_side // 2**level) for level in range(self.levels))
        return f"{sides} px, {self.bank_patches} patches each"


def sized(longer_side: int) -> Design:
    """The design for an input of this size: large levels find small defects, small ones are not misled by texture."""
    levels = 1
    while longer_side / 2 ** (levels - 1) > LONGER_SIDE:
        levels += 1
    return Design(longer_side, levels)


SMALL = sized(LONGER_SIDE)
