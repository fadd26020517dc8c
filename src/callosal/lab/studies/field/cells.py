"""The cells of the field's benchmarks by name: which task, in how many calls, by which model. Imports no torch."""

MQAR, INDUCTION, COPYING = "MQAR", "induction heads", "selective copying"
TASKS = (MQAR, INDUCTION, COPYING)
# Other sizes that trained models are asked at: zoology's numbers of pairs at this length, longer sequences, more noise.
FURTHER = {MQAR: (8, 16), INDUCTION: (64, 1024), COPYING: (60,)}
UNITS = {MQAR: "pairs", INDUCTION: "tokens", COPYING: "noise tokens"}
# What the two calls hold.
TOLD_AND_ASKED = ("told", "asked")
CALLS = {1: "one call", 2: "two calls"}

ATTENTION = "attention"
# With the options that an open vocabulary needs: what tokens are is written where what stood before them points.
OURS = "one bank, observing"
TWO_BANKS = "inhibitory, observing"
# What might keep question and answer in one bank: no inhibition, or banks that compete for each token alone.
UNCOUPLED = "uncoupled, observing"
TOKENWISE = "inhibitory by token, observing"
BOTH = "attention + one bank, observing"
PAPER = "one bank"
GATED, DELTA = "Gated DeltaNet", "DeltaNet"
MODELS = (ATTENTION, OURS, TWO_BANKS, UNCOUPLED, TOKENWISE, PAPER, BOTH, GATED, DELTA)
# Of every task, which models see it in one call and which in two. A memory of ours reads what was there before the
# call, so one of them alone in one call is enough to show what that gives.
SEEN: dict[str, dict[int, tuple[str, ...]]] = {
    MQAR: {1: (ATTENTION, OURS, BOTH, GATED, DELTA), 2: MODELS},
    INDUCTION: {1: (ATTENTION, GATED), 2: (ATTENTION, OURS, TWO_BANKS, UNCOUPLED, TOKENWISE, PAPER, GATED)},
    COPYING: {1: (ATTENTION, GATED), 2: (ATTENTION, OURS, GATED)},
}


def cell_name(task: str, calls: int, model: str) -> str:
    """Return the name of a cell.

    >>> cell_name("MQAR", 2, "attention")
    'MQAR, two calls: attention'
    """
    return f"{task}, {CALLS[calls]}: {model}"


def at_size(size: int) -> str:
    """Return the condition under which a trained model is asked at another size of its task."""
    return f"at {size}"


# In the order of every table.
CELLS = tuple(cell_name(t, calls, model) for t in TASKS for calls in CALLS for model in SEEN[t][calls])
