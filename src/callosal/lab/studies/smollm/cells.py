"""The cells of the study of SmolLM2 by name, for its recipe and its report. Imports no torch."""

from typing import Any

# What differs from the main cell's memory, by the name of the cell.
MAIN = "inhibitory"
VARIANTS: dict[str, dict[str, Any]] = {
    MAIN: {},
    "uncoupled": {"sign": 0.0},
    "excitatory": {"sign": 1.0},
    "one bank": {"num_banks": 1, "num_slots": 256},
}
# One part of the recipe taken away in each.
ABLATIONS: dict[str, dict[str, Any]] = {
    "hidden states as payload": {"embedded": False},
    "all heads write": {"writers": "all"},
    "no salience": {"salience": "even"},
}
# The memory that ships: as the main cell, with four times as many steps of speaking.
SHIPS, LONGER = "longer speaking", 4
# The model without a memory: once, since nothing of it is drawn.
ALONE = "model alone"
CELLS = (ALONE, *VARIANTS, SHIPS, *ABLATIONS)
# Behind which layer, counted from 0.
LAYER = 24
