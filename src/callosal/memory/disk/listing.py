"""What a memory file holds and how two of them differ, in lines: what ``callosal memory`` prints."""

from collections.abc import Sequence
from datetime import UTC, datetime

from callosal.memory.disk.storage import StoredMemory
from callosal.memory.inspection import BankChange, summarise


def list_memory(stored: StoredMemory, place: object, layer: str = "") -> list[str]:
    """Return in lines what a file or a store says of a memory behind a layer, if any, and how full each bank is.

    What stands in the file stands in the lines as it is: escape it before a terminal sees it.
    """
    header, trace = stored.header, stored.state.trace
    rows, banks, slots, width = trace.shape
    facts = {
        "file": place,
        "layer": layer or "-",
        "memory": f"{rows} rows, {banks} banks of {slots} slots, width {width}, {trace.dtype}",
        "age": f"{_age(header.created)} (written {header.created:%Y-%m-%d %H:%M:%S} UTC)",
        "written by": f"callosal {header.package_version}, format {header.format_version}",
        "config": header.config_hash[:12],
        "weights": header.parameters_hash[:12],
        "checksum": f"{stored.checksum[:12]}, fits",
        "user": "-" if header.user is None else ascii(header.user),
        "made of": ", ".join(parent[:12] for parent in header.parents) or "-",
        "carried context": "no" if stored.state.context is None else "yes",
        "notes": header.notes or "-",
    }
    table = [("bank", "slots", "in use", "mean norm", "largest norm", "of the bound")]
    for bank in summarise(stored.state, header.max_slot_norm):
        share = "no bound" if bank.share_of_bound is None else f"{bank.share_of_bound:.1%}"
        norms = f"{bank.mean_norm:.4g}", f"{bank.max_norm:.4g}"
        table.append((bank.bank, str(bank.num_slots), str(bank.num_used), *norms, share))
    return [f"{name:<15}  {value}" for name, value in facts.items()] + _aligned(table)


def list_changes(changes: Sequence[BankChange]) -> list[str]:
    """Return in lines how every bank of every row changed."""
    table = [("row", "bank", "slots changed", "distance", "of the norm", "most in slot")]
    for change in changes:
        most = "-" if change.largest_slot is None else str(change.largest_slot)
        sizes = f"{change.distance:.4g}", f"{change.relative:.1%}"
        table.append((str(change.row), change.bank, str(change.num_changed), *sizes, most))
    return _aligned(table)


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Return a line a row, its cells to the right of columns as wide as their widest.

    >>> _aligned([("bank", "slots"), ("left", "3")])
    ['bank  slots', 'left      3']
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.rjust, row, widths)) for row in table]


def _age(created: datetime) -> str:
    """Return how long ago something was, in the largest unit that fits.

    >>> from datetime import timedelta
    >>> _age(datetime.now(UTC) - timedelta(hours=50))
    '2 days'
    """
    seconds = max((datetime.now(UTC) - created).total_seconds(), 0.0)
    units = {"day": 86_400, "hour": 3600, "minute": 60, "second": 1}
    unit = next((unit for unit, length in units.items() if seconds >= length), "second")
    count = int(seconds // units[unit])
    return f"{count} {unit}{'' if count == 1 else 's'}"
