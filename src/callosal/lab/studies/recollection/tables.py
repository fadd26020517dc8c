"""The cells on our scales and on those of arXiv 2603.07217, as we read them."""

from collections.abc import Iterator

from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import Table, by_arm, cell_tables, columns, count, grid, mean
from callosal.lab.studies.sequel.jumps import derive as derive_jumps
from callosal.lab.studies.sequel.jumps import jumps_table

# Half of every share: the sequel's D_sep and P_ct add up to about one half.
HALVED_SEPARATION, HALVED_CROSS_TALK = "D_sep, halved", "P_ct, halved"


def derive(run: RunRecord) -> Iterator[Value]:
    """Give both measures on the sequel's scales, and when P_ct fell."""
    yield from derive_jumps(run)
    outside = run.get("P_ct")
    if outside is not None:
        yield {"measure": HALVED_SEPARATION, "value": (1.0 - outside) / 2}
        yield {"measure": HALVED_CROSS_TALK, "value": outside / 2}


def tables(study: Study) -> list[Table]:
    """Return both scales, when P_ct fell, and the cells."""
    return [scales_table(study), jumps_table(study), *cell_tables(study)]


def scales_table(study: Study) -> Table:
    """Give every cell on our scales and on the sequel's, beside what it recalls."""
    ours = {"smaller |D_sep|": of("smaller |D_sep|"), "P_ct": of("P_ct")}
    theirs = {name: of(name) for name in (HALVED_SEPARATION, HALVED_CROSS_TALK)}
    shown = ours | theirs | {"recall": of("recall", after=0)}
    return grid(study, "On both scales", ["cell"], by_arm(study), {"seeds": count} | columns(mean, shown))
