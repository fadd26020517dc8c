"""What two papers reported on when banks lateralize, and what the equations predict."""

from callosal.lab.report.claims import (
    DOMINANCE,
    KEPT,
    PAPER,
    SEQUEL,
    Claim,
    lateralizes,
    splits_nothing,
    stays_unlateralized,
)
from callosal.lab.report.study import of
from callosal.lab.studies.map.cells import GAINS, SIGNS, initial_strength, plane_cell

# From here on the mean field (see map.measures) has |D_sep| at 0.99 or above.
SATURATION = 2.674
STRENGTHS = {
    plane_cell(sign, gain): initial_strength(sign, gain) for sign in SIGNS for gain in GAINS
}
BELOW_THRESHOLD = tuple(cell for cell, x in STRENGTHS.items() if x < 1.0)
SATURATED = tuple(cell for cell, x in STRENGTHS.items() if x >= SATURATION)

CLAIMS: tuple[Claim, ...] = (
    # Reported: saturated specialization, D_sep = +-1.00.
    lateralizes(
        "map-inhibition",
        "With inhibition each domain has a bank of its own (s = -1, gain 4).",
        "s=-1",
        source=PAPER,
        reported="D_sep +-1.00",
    ),
    # Reported in the sequel, on a scale of its own: D_sep ~ 0.25.
    stays_unlateralized(
        "map-inhibition-alone",
        "Inhibition alone, with no context carried along, never lateralizes (s = -1, gain 4).",
        "s=-1",
        source=SEQUEL,
        reported="D_sep ~0.25, another scale",
    ),
    lateralizes(
        "map-carried-half",
        "A context carried from segment to segment makes the banks lateralize (carry 0.5).",
        "s=-1 carry=0.5",
        source=SEQUEL,
        reported="P_ct 0.25 -> 0.002, another scale",
    ),
    lateralizes(
        "map-carried-slow",
        "A slowly drifting context makes the banks lateralize (carry 0.9).",
        "s=-1 carry=0.9",
        source=SEQUEL,
        reported="P_ct 0.25 -> 0.002, another scale",
    ),
    # The paper compares s = -1 with s = +1; that banks without coupling fail too is our reading.
    stays_unlateralized(
        "map-uncoupled",
        "Inhibition is necessary: uncoupled banks do not reach 0.99 (s = 0, gain 4).",
        "s=+0",
        source=f"{PAPER} (our reading)",
        reported="only with inhibition (our reading)",
    ),
    stays_unlateralized(
        "map-uncoupled-sharp",
        "Nor do uncoupled banks that compete more sharply reach it (s = 0, gain 8).",
        "s=+0 gain=8",
        source=f"{PAPER} (our reading)",
        reported="only with inhibition (our reading)",
    ),
    splits_nothing(
        "map-excitation",
        "With excitation the banks do not specialize (s = +1, gain 4, W_s learned).",
        "s=+1",
    ),
    splits_nothing(
        "map-excitation-frozen",
        "With excitation and W_s frozen the banks do not specialize.",
        "s=+1 frozen",
    ),
    Claim(
        id="map-excitation-one-bank",
        claim="With excitation one bank takes everything (s = +1, gain 4).",
        source=PAPER,
        reported="one bank monopolises all inputs",
        measure=DOMINANCE,
        arms=("s=+1",),
        quantity=of("dominance"),
        at_least=0.9,
    ),
    lateralizes(
        "map-inhibition-frozen",
        "With inhibition and W_s frozen each domain has a bank of its own.",
        "s=-1 frozen",
    ),
    # Ours: the mean field, D = tanh(x D), x = gain (1 - s)^2.
    Claim(
        id="map-below-threshold",
        claim="Below the predicted threshold, gain (1 - s)^2 < 1, no cell lateralizes.",
        measure="the largest of the cells' smaller |D_sep|, negative where signs are equal",
        arms=BELOW_THRESHOLD,
        quantity=of("smaller |D_sep|"),
        combine="largest",
        at_most=0.05,
    ),
    Claim(
        id="map-saturated",
        claim="Where the prediction is saturated, gain (1 - s)^2 >= 2.67, every cell lateralizes.",
        measure="the smallest of the cells' smaller |D_sep|, negative where signs are equal",
        arms=SATURATED,
        quantity=of("smaller |D_sep|"),
        combine="smallest",
        at_least=0.99,
    ),
    lateralizes(
        "map-gradient",
        "Without plasticity: axes learned by the gradient lateralize as well.",
        "s=-1 gradient",
    ),
    lateralizes(
        "map-slots",
        "Without plasticity: banks driven by their slots lateralize as well.",
        "s=-1 slots",
    ),
    lateralizes(
        "map-slots-sharp",
        "So they do where the banks compete more sharply (slots, gain 8).",
        "s=-1 slots gain=8",
    ),
    lateralizes(
        "map-no-homeostasis",
        "Homeostasis is not needed (s = -1, gain 4).",
        "s=-1 no-homeostasis",
    ),
    lateralizes(
        "map-no-homeostasis-low",
        "Nor is it at a low gain (s = -1, gain 1).",
        "s=-1 no-homeostasis gain=1",
    ),
    lateralizes(
        "map-token",
        "No context is needed: the token alone tells the domain.",
        "s=-1 token",
    ),
    lateralizes(
        "map-short",
        "Segments of four tokens are long enough to lateralize.",
        "s=-1 pairs=2",
    ),
    Claim(
        id="map-retention",
        claim="With inhibition the cipher is kept through 300 segments of arithmetic.",
        measure=KEPT,
        arms=("s=-1",),
        quantity=of("kept share of recall"),
        at_least=0.95,
    ),
    Claim(
        id="map-forgetting",
        claim="With excitation it is lost.",
        measure=KEPT,
        arms=("s=+1",),
        quantity=of("kept share of recall"),
        at_most=0.5,
        strict=True,
    ),
)
