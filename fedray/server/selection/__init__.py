"""How the clients of a round are chosen: one paper, one file, one line in the table."""

from typing import Annotated

from fedray.config import Choices
from fedray.server.selection.base import Selection
from fedray.server.selection.fair import Fair
from fedray.server.selection.oort import Oort
from fedray.server.selection.power_of_choice import PowerOfChoice
from fedray.server.selection.tifl import Tifl
from fedray.server.selection.uniform import Uniform
from fedray.server.selection.weighted import Weighted
from fedray.server.selection.without_replacement import WithoutReplacement

SELECTIONS = Choices(
    "sampling",
    {
        "uniform": Uniform,
        "without_replacement": WithoutReplacement,
        "weighted": Weighted,
        "power_of_choice": PowerOfChoice,
        "oort": Oort,
        "fair": Fair,
        "tifl": Tifl,
    },
)
AnySelection = Annotated[Selection, SELECTIONS]
