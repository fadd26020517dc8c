"""What the sequel reported of its setting, and what we ask of ours."""

from callosal.lab.report.claims import (
    SEQUEL,
    Claim,
    lateralizes,
    stays_unlateralized,
)

CLAIMS: tuple[Claim, ...] = (
    # Reported: D_sep ~ 0.25 for inhibition alone, on a scale of its own; 0.5 on ours is a choice.
    stays_unlateralized(
        "sequel-inhibition-alone",
        "At a low gain without homeostasis inhibition alone stays unlateralized.",
        "low gain",
        source=SEQUEL,
        reported="D_sep ~0.25, another scale",
        at_most=0.5,
    ),
    stays_unlateralized(
        "sequel-inhibition-alone-blocks",
        "So it does where a domain stays for four segments.",
        "low gain blocks",
        source=SEQUEL,
        reported="D_sep ~0.25, another scale",
        at_most=0.5,
    ),
    lateralizes(
        "sequel-buffer",
        "The slow buffer makes it lateralize.",
        "low gain buffer",
        source=SEQUEL,
        reported="P_ct 0.25 -> 0.002, another scale",
    ),
    lateralizes(
        "sequel-buffer-blocks",
        "The slow buffer makes it lateralize where a domain stays for four segments.",
        "low gain buffer blocks",
        source=SEQUEL,
        reported="P_ct 0.25 -> 0.002, another scale",
    ),
    lateralizes(
        "sequel-our-gain",
        "At our gain, with homeostasis, inhibition lateralizes without the buffer.",
        "our gain",
    ),
    lateralizes(
        "sequel-our-gain-blocks",
        "So it does where a domain stays for four segments.",
        "our gain blocks",
    ),
    lateralizes(
        "sequel-our-gain-buffer",
        "At our gain the buffer does no harm.",
        "our gain buffer",
    ),
    lateralizes(
        "sequel-our-gain-buffer-blocks",
        "At our gain the buffer does no harm where a domain stays for four segments.",
        "our gain buffer blocks",
    ),
)
