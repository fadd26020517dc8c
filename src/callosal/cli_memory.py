"""``callosal memory``: memory files looked at and edited, each verb one call of the library."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from callosal.lab.report.memory_picture import draw_norms
from callosal.memory.disk.files import diff_files, fork_file, merge_files, reset_file
from callosal.memory.disk.storage import StoredMemory, read_memory
from callosal.memory.editing import PARENTS, bank_name
from callosal.memory.inspection import slot_norms, summarise


def add_memory_verbs(verbs: Any) -> None:
    """Add ``memory`` and its verbs to the program's."""
    memory = verbs.add_parser("memory", help="look at memory files, or edit them, without a model")
    verbs = memory.add_subparsers(title="verbs", required=True, metavar="VERB")

    verb = verbs.add_parser("inspect", help="show banks, slots in use, norms, age and notes")
    verb.add_argument("file", type=Path)
    verb.add_argument("--picture", type=Path, metavar="PNG", help="also draw the slots' norms")
    verb.set_defaults(verb=_inspect)

    verb = verbs.add_parser("diff", help="show how the banks of two files differ")
    verb.add_argument("first", type=Path, metavar="A")
    verb.add_argument("second", type=Path, metavar="B")
    verb.set_defaults(verb=_diff)

    verb = verbs.add_parser("merge", help="make one memory of two, bank by bank")
    verb.add_argument("first", type=Path, metavar="A")
    verb.add_argument("second", type=Path, metavar="B")
    verb.add_argument(
        "--bank",
        nargs="+",
        action="extend",
        type=_source,
        default=[],
        metavar="BANK=PARENT",
        help="left=A right=B, or 0=A+B; banks left out come from both (A+B)",
    )
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file")
    verb.set_defaults(verb=_merge)

    verb = verbs.add_parser("fork", help="copy a memory into new files that go on by their own")
    verb.add_argument("file", type=Path)
    verb.add_argument("copies", type=Path, nargs="+", metavar="COPY")
    verb.set_defaults(verb=_fork)

    verb = verbs.add_parser("reset", help="blank banks of a memory")
    verb.add_argument("file", type=Path)
    verb.add_argument(
        "--bank",
        nargs="+",
        action="extend",
        metavar="BANK",
        help="left, right or a number (default: all banks, and the carried context)",
    )
    verb.add_argument("--out", type=Path, metavar="FILE", help="a new file (default: in place)")
    verb.set_defaults(verb=_reset)


def _source(text: str) -> tuple[str, str]:
    bank, _, parent = text.partition("=")
    if not bank or parent not in PARENTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not like left=A, right=B or 0=A+B")
    return bank, parent


def _inspect(parsed: argparse.Namespace) -> int:
    stored = read_memory(parsed.file)
    _show(stored, str(parsed.file))
    if parsed.picture is not None:
        norms, num_banks = slot_norms(stored.state), stored.state.trace.shape[1]
        names = [bank_name(bank, num_banks) for bank in range(num_banks)]
        picture = draw_norms(norms.numpy(), names, stored.header.max_slot_norm)
        parsed.picture.write_bytes(picture)
        print(f"The picture: {parsed.picture}")
    return 0


def _diff(parsed: argparse.Namespace) -> int:
    changes, remarks = diff_files(parsed.first, parsed.second)
    table = _table("row", "bank", "slots changed", "distance", "of the norm", "most in slot")
    for change in changes:
        table.add_row(
            str(change.row),
            change.bank,
            str(change.num_changed),
            f"{change.distance:.4g}",
            f"{change.relative:.1%}",
            "-" if change.largest_slot is None else str(change.largest_slot),
        )
    console = Console()
    console.print(table)
    for remark in remarks:
        console.print(Text(f"Note: {remark}."))
    return 0


def _merge(parsed: argparse.Namespace) -> int:
    banks: dict[int | str, str] = dict(parsed.bank)
    if len(banks) < len(parsed.bank):
        raise ValueError("--bank names a bank twice; name each bank once")
    _show(merge_files(parsed.first, parsed.second, parsed.out, banks), str(parsed.out))
    return 0


def _fork(parsed: argparse.Namespace) -> int:
    fork_file(parsed.file, parsed.copies)
    print(*parsed.copies, sep="\n")
    return 0


def _reset(parsed: argparse.Namespace) -> int:
    _show(reset_file(parsed.file, parsed.bank, parsed.out), str(parsed.out or parsed.file))
    return 0


def _show(stored: StoredMemory, path: str) -> None:
    header, trace = stored.header, stored.state.trace
    rows, banks, slots, width = trace.shape
    console = Console()
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("file", path),
        ("memory", f"{rows} rows, {banks} banks of {slots} slots, width {width}, {trace.dtype}"),
        ("age", f"{_age(header.created)} (written {header.created:%Y-%m-%d %H:%M:%S} UTC)"),
        ("written by", f"callosal {header.package_version}, format {header.format_version}"),
        ("config", header.config_hash[:12]),
        ("weights", header.parameters_hash[:12]),
        ("checksum", f"{stored.checksum[:12]}, fits"),
        ("user", "-" if header.user is None else ascii(header.user)),
        ("made of", ", ".join(parent[:12] for parent in header.parents) or "-"),
        ("carried context", "no" if stored.state.context is None else "yes"),
        ("notes", header.notes or "-"),
    ):
        # Text, so that nothing in a file is taken for markup.
        facts.add_row(name, Text(value))
    console.print(facts)
    table = _table("bank", "slots", "in use", "mean norm", "largest norm", "of the bound")
    for bank in summarise(stored.state, header.max_slot_norm):
        table.add_row(
            bank.bank,
            str(bank.num_slots),
            str(bank.num_used),
            f"{bank.mean_norm:.4g}",
            f"{bank.max_norm:.4g}",
            "no bound" if bank.share_of_bound is None else f"{bank.share_of_bound:.1%}",
        )
    console.print(table)


def _table(*headers: str) -> Table:
    table = Table()
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left")
    return table


def _age(created: datetime) -> str:
    """Return how long ago something was, in the largest unit that fits.

    >>> from datetime import timedelta
    >>> _age(datetime.now(UTC) - timedelta(hours=50))
    '2 days'
    """
    seconds = max((datetime.now(UTC) - created).total_seconds(), 0.0)
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length or length == 1:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    raise AssertionError
