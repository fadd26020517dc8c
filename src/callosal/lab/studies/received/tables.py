"""Which configurations give everything that the paper reports, seed by seed."""

from dataclasses import replace

from callosal.lab.report.claims import Claim, judge, read_claims
from callosal.lab.report.layout import declared
from callosal.lab.report.study import Study
from callosal.lab.report.tables import NOTHING, Table, cell_tables, tally
from callosal.lab.studies.received.cells import BASELINE, CONFIGURATIONS, baseline_name

# What is reported, in short, by the claims of the main configuration; of the last, both readings of "lower".
FACTS = {
    "-1: D_sep": "received-separation",
    "-1: P_ct": "received-cross-talk",
    "-1: 124x": "received-cipher-ratio",
    "-1: arithmetic": "received-arithmetic",
    "+1: one bank": "received-one-bank",
    "+1: P_ct": "received-excitatory-cross-talk",
    "+1: loss below no memory's": "received-loss-baseline",
}
STRONGER = "received-loss-inhibitory"


def tables(study: Study) -> list[Table]:
    """Return the paper's table by configuration, and the cells."""
    return [whole_table(study), *cell_tables(study)]


def whole_table(study: Study) -> Table:
    """Count the seeds that meet each reported fact, and all of them at once, in every configuration."""
    claims = {claim.id: claim for claim in read_claims(declared(__package__ or "")["claims"])}
    rows = []
    for note, configuration in CONFIGURATIONS.items():
        met = [_met(study, claims[name], note) for name in FACTS.values()]
        stronger = _met(study, claims[STRONGER], note)
        shared = sorted(set.intersection(*map(set, [*met, stronger])))
        if not shared:
            continue
        rows.append(
            [
                configuration.label.replace("$W_s$", "W_s"),
                *map(_counted, met),
                tally([all(fact[seed] for fact in met) for seed in shared]),
                _counted(stronger),
            ]
        )
    headers = ["configuration", *FACTS, "all of these", "+1: loss below -1's"]
    return Table(title="The paper's table", headers=headers, rows=rows)


def _met(study: Study, claim: Claim, note: str) -> dict[int, bool]:
    """Say of every seed whether it meets a claim of the main configuration in another one."""
    arms = tuple(baseline_name(note) if arm == BASELINE else f"{arm} {note}".strip() for arm in claim.arms)
    (verdict,) = judge(study, [replace(claim, arms=arms)])
    values = zip(verdict.seeds, verdict.per_seed, strict=True)
    return {seed: value is not None and claim.meets(value) for seed, value in values}


def _counted(met: dict[int, bool]) -> str:
    return f"{sum(met.values())} of {len(met)}" if met else NOTHING
