"""The cells of the study of SmolLM2 by name, for its recipe and its report. Imports no torch."""

from typing import Any

# What differs from the main cell's memory, by the name of the cell. What is retrieved is normalised, questions learn
# without slots first, and addresses are taught to be silent off the answers.
MAIN = "silent"
VARIANTS: dict[str, dict[str, Any]] = {
    MAIN: {},
    f"{MAIN}, uncoupled": {"sign": 0.0},
    f"{MAIN}, excitatory": {"sign": 1.0},
    f"{MAIN}, one bank": {"num_banks": 1, "num_slots": 256},
}
# What limits it: one part of the memory changed in each, and where it stands.
ABLATIONS: dict[str, dict[str, Any]] = {
    f"{MAIN}, twice the slots": {"num_slots": 256},
    f"{MAIN}, three banks": {"num_banks": 3, "num_slots": 85},
    f"{MAIN}, hidden states as payload": {"embedded": False},
}
EARLIER = f"{MAIN}, layer 20"
# The same recipe, taught silence at questions out of place too.
TACTFUL = "tactful"
# And to be silent behind the words that an answer begins with, so that these can tell whether there is one.
CUED = "cued"
# The same recipe, but that the gate alone is taught silence; on the second seed.
TOGETHER = "read together"
# The first recipe: slots are read one by one, and pointing is learned through them from the start.
FIRST = "inhibitory"
FIRST_VARIANTS: dict[str, dict[str, Any]] = {
    FIRST: {},
    "uncoupled": {"sign": 0.0},
    "excitatory": {"sign": 1.0},
    "one bank": {"num_banks": 1, "num_slots": 256},
}
# One part of that taken away in each; or, in one, four times as many steps of speaking.
FIRST_ABLATIONS: dict[str, dict[str, Any]] = {
    "hidden states as payload": {"embedded": False},
    "all heads write": {"writers": "all"},
    "no salience": {"salience": "even"},
}
LONGER = "longer speaking"
# The memory that ships. Its seed was named before its run, and is no better one.
SHIPS = (CUED, 1)
# The model without a memory: once, since nothing of it is drawn.
ALONE = "model alone"
SECOND: dict[str, dict[str, Any]] = VARIANTS | ABLATIONS | {EARLIER: {}, TACTFUL: {}, CUED: {}}
WITH_MEMORY = (*SECOND, TOGETHER, *FIRST_VARIANTS, LONGER, *FIRST_ABLATIONS)
CELLS = (ALONE, *WITH_MEMORY)
# Behind which layer, counted from 0.
LAYER, EARLIER_LAYER = 24, 20
