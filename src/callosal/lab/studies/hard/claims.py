"""What we ask where domains are hard to tell apart; nothing of this was reported."""

from callosal.lab.report.claims import (
    OURS,
    Claim,
    lateralizes,
    splits_nothing,
    stays_unlateralized,
)

CLAIMS: tuple[Claim, ...] = (
    lateralizes(
        "hard-easy",
        "Two alphabets, equally frequent, unmixed: the banks lateralize.",
        "easy",
    ),
    lateralizes(
        "hard-one-alphabet",
        "They do where both domains share one alphabet.",
        "one alphabet",
    ),
    lateralizes(
        "hard-cipher-10",
        "They do where one segment in ten is the cipher's.",
        "cipher 10%",
    ),
    lateralizes(
        "hard-cipher-90",
        "They do where nine segments in ten are the cipher's.",
        "cipher 90%",
    ),
    lateralizes(
        "hard-mixed-eighth",
        "They do where an eighth of a segment is the other domain's.",
        "mixed 0.125",
    ),
    lateralizes(
        "hard-mixed-quarter",
        "They do where a quarter of a segment is the other domain's.",
        "mixed 0.25",
    ),
    lateralizes(
        "hard-mixed-half",
        "They do where half of a segment is the other domain's.",
        "mixed 0.5",
    ),
    stays_unlateralized(
        "hard-one-alphabet-uncoupled",
        "With one alphabet inhibition is necessary (s = 0 does not reach 0.99).",
        "one alphabet s=+0",
    ),
    splits_nothing(
        "hard-one-alphabet-excitation",
        "With one alphabet excitation does not lateralize either.",
        "one alphabet s=+1",
        source=OURS,
    ),
    stays_unlateralized(
        "hard-cipher-10-uncoupled",
        "With one segment in ten the cipher's, inhibition is necessary (s = 0 does not reach 0.99).",
        "cipher 10% s=+0",
    ),
)
