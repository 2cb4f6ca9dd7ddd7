"""Random numbers of 32 bits, one for each coordinate: half a word of a stream.

Shapes: C clients, N coordinates.
"""

import numpy as np
from numpy.typing import NDArray

from fedray import seeds
from fedray.seeds import Words


def lanes(keys_C: Words, coordinates: slice) -> NDArray[np.uint32]:
    """The numbers of some neighbouring coordinates, shape (C, N): whichever others are asked for with them."""
    first, stop = coordinates.start // 2, -(-coordinates.stop // 2)
    halves = seeds.words(keys_C, stop - first, first).view(np.uint32)
    return halves[:, coordinates.start - 2 * first : coordinates.stop - 2 * first]
