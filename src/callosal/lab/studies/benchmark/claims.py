"""What was reported of the benchmark, and what we ask of it besides."""

from callosal.lab.report.claims import DOMINANCE, KEPT, PAPER, SEPARATION, Claim
from callosal.lab.report.study import of

CLAIMS: tuple[Claim, ...] = (
    # Ours: what no memory must give, without which no ratio means anything.
    Claim(
        id="baseline-at-chance",
        claim="Without a memory the cipher loss stays at chance, ln K.",
        reported="1 (ln K)",
        measure="the baseline's cipher loss over ln K",
        quantity=of("loss over chance"),
        arms=("no-memory",),
        at_least=0.99,
        at_most=1.01,
    ),
    # Reported: saturated specialization, D_sep = +-1.00. The tolerance is ours.
    Claim(
        id="inhibitory-separation",
        claim="Inhibitory: each domain has a bank of its own, saturated.",
        source=PAPER,
        reported="+-1.00",
        measure=SEPARATION,
        quantity=of("smaller |D_sep|"),
        arms=("inhibitory",),
        at_least=0.99,
    ),
    # Reported: P_ct ~ 0. The tolerance is ours.
    Claim(
        id="inhibitory-cross-talk",
        claim="Inhibitory: hardly any activity in the other domain's bank.",
        source=PAPER,
        reported="~0",
        measure="P_ct of the inhibitory arm",
        quantity=of("P_ct"),
        arms=("inhibitory",),
        at_most=0.01,
    ),
    # Reported: 124x lower cipher loss than the baseline without the memory.
    Claim(
        id="inhibitory-cipher-ratio",
        claim="Inhibitory: cipher loss at least 124 times below the baseline's.",
        source=PAPER,
        reported="124x",
        measure="the baseline's cipher loss over the inhibitory arm's, paired by seed",
        quantity=of("loss", "episodic"),
        arms=("no-memory", "inhibitory"),
        combine="ratio",
        at_least=124.0,
        unit="x",
    ),
    # Reported: equal on arithmetic. The tolerance is ours.
    Claim(
        id="inhibitory-arithmetic",
        claim="Inhibitory: arithmetic loss equal to the baseline's.",
        source=PAPER,
        reported="equal",
        measure="the inhibitory arm's arithmetic loss minus the baseline's, paired by seed",
        quantity=of("loss", "rule"),
        arms=("inhibitory", "no-memory"),
        combine="difference",
        at_least=-0.01,
        at_most=0.01,
        unit=" nats",
    ),
    # Reported: P_ct -> 0.5. The tolerance is ours.
    Claim(
        id="excitatory-cross-talk",
        claim="Excitatory: the banks do not specialize, P_ct goes to 0.5.",
        source=PAPER,
        reported="-> 0.5",
        measure="P_ct of the excitatory arm",
        quantity=of("P_ct"),
        arms=("excitatory",),
        at_least=0.45,
    ),
    # Reported: one bank monopolises all inputs. An even split gives P_ct 0.5 too.
    Claim(
        id="excitatory-one-bank",
        claim="Excitatory: one bank takes everything.",
        source=PAPER,
        reported="one bank monopolises all inputs",
        measure=DOMINANCE,
        quantity=of("dominance"),
        arms=("excitatory",),
        at_least=0.9,
    ),
    # Reported: "although the task loss falls"; that the inhibitory arm's is meant is our reading.
    Claim(
        id="excitatory-task-loss",
        claim="Excitatory: its task loss is nevertheless below the inhibitory arm's.",
        source=PAPER + " (our reading: lower than the inhibitory arm's)",
        reported="task loss falls",
        measure="cipher + arithmetic loss over the inhibitory arm's, paired by seed",
        quantity=of("task loss"),
        arms=("excitatory", "inhibitory"),
        combine="ratio",
        at_most=1.0,
        strict=True,
        unit="x",
    ),
    # Ours: what lateralization is for.
    Claim(
        id="inhibitory-retention",
        claim="Inhibitory: the cipher is kept through a long stream of arithmetic.",
        measure=KEPT,
        quantity=of("kept share of recall"),
        arms=("inhibitory",),
        at_least=0.95,
    ),
    # Ours: what its absence costs. The uncoupled arm's figure is in the tables, without threshold.
    Claim(
        id="excitatory-forgetting",
        claim="Excitatory: the cipher is lost in the same stream.",
        measure=KEPT,
        quantity=of("kept share of recall"),
        arms=("excitatory",),
        at_most=0.5,
        strict=True,
    ),
)
