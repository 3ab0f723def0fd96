"""What a training may choose: how large the network's input is, at how many levels it looks, and how much it remembers."""

from __future__ import annotations

from inspection import artifact
from inspection.preprocessing import input_size

LONGER_SIDE = 320
COARSE_LAYERS = ("blocks.2", "blocks.4")
FINE_LAYERS = ("blocks.1", "blocks.2", "blocks.4")
"""With the layer at stride 4, whose texture tells small defects; among few large patches it only adds noise."""
BANK_PATCHES = 2_000
DEADLINE_MS = 400.0
"""What a frame may take if nobody says otherwise: quality first, for two parts a second even on a busy machine."""


Trial = artifact.Trial


class Design(artifact.Design, frozen=True):
    """A design and what follows from it; levels below the largest use ``COARSE_LAYERS``."""

    longer_side: int = LONGER_SIDE
    levels: int = 1
    layers: tuple[str, ...] = COARSE_LAYERS
    bank_patches: int = BANK_PATCHES

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """The network's input (width, height) for frames of this size: each level a multiple of the features' stride."""
        factor = 2 ** (self.levels - 1)
        smallest = input_size(width, height, round(self.longer_side / factor))
        return smallest[0] * factor, smallest[1] * factor

    def layers_at(self, level: int) -> tuple[str, ...]:
        """The layers of a level; level 0 is the largest."""
        return self.layers if level == 0 else COARSE_LAYERS

    def __str__(self) -> str:
        sides = " + ".join(str(self.longer_side // 2**level) for level in range(self.levels))
        return f"{sides} px, layers {', '.join(self.layers)}, {self.bank_patches} patches"


SMALL = Design()


def sized(longer_side: int) -> Design:
    """The design for an input of this size, without trying others: fine layers where patches are small on the part."""
    return Design(longer_side, layers=COARSE_LAYERS if longer_side <= LONGER_SIDE else FINE_LAYERS)
