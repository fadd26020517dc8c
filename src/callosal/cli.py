"""The command line: verbs only, each of which calls the library.

A verb imports what it needs when it is called, so that help and mistakes take no time.
"""

import io
import json
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import callosal
from callosal.lab import studies

if TYPE_CHECKING:
    import callosal.stores
    from callosal.memory.disk.storage import StoredMemory

# By their names alone, since what carries them out imports torch.
Recipe = Literal["paper", "quick"]
Arm = Literal["no-memory", "inhibitory", "uncoupled", "excitatory"]
# What the extra "lab" brings.
_LAB = ("scipy", "matplotlib", "PIL", "rich", "pandas", "jinja2")
_PNG = b"\x89PNG\r\n\x1a\n"
# What typer raises for a wrong command line, in whichever module its version keeps it.
_UsageError: Any = typer.BadParameter.__base__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; user errors end in one line and exit code 2, a run that failed in exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal's encoding lacks is shown by its number.
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    command = get_command(app)
    try:
        with command.make_context("callosal", arguments) as context:
            return command.invoke(context)
    except typer.Exit as ending:
        return ending.exit_code
    except _UsageError as error:
        return _fail(_usage(error))
    except (ValueError, OSError, ImportError) as error:
        # An interrupt while workers start can end in an error of what it tore apart.
        if not _was_interrupted(error):
            return _fail(f"callosal: {_remedy(error) or error}")
    except KeyboardInterrupt:
        pass
    return _fail("callosal: stopped; the same command goes on from the last checkpoint", code=130)


def _was_interrupted(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _usage(error: Any) -> str:
    """Return what is wrong with a command line, and what is allowed instead."""
    path = error.ctx.command_path if error.ctx else "callosal VERB"
    message = error.format_message().replace("Value error, ", "")  # pydantic's, in typer
    command = error.ctx and error.ctx.command
    if command and hasattr(error, "option_name"):
        options = [name for param in command.params for name in param.opts if name[:1] == "-"]
        message = f"{message.rstrip('.')}; the options are {', '.join(options)}"
    elif hasattr(command, "commands"):
        message += f" VERB is one of {', '.join(command.commands)}"
    return f"{path}: {message.rstrip('.')} (see {path} --help)"


def _remedy(error: Exception) -> str | None:
    """Return how to install a module that is missing, where the error does not say so itself."""
    module = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ImportError) and module in _LAB:
        return f'this needs {module}; pip install "callosal[lab]"'
    return None


def _fail(message: str, code: int = 2) -> int:
    print(_printable(" ".join(message.split())), file=sys.stderr)
    return code


def _say(*lines: object) -> None:
    for line in lines:
        print(_printable(str(line)))


def _printable(text: str) -> str:
    """Escape what a terminal would obey instead of showing it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def parse_seeds(text: str) -> list[int]:
    """Read ``0-4`` or ``101,102,103``, or both; BadParameter where a seed is named twice or a range goes down.

    >>> parse_seeds("0-2,7")
    [0, 1, 2, 7]
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise typer.BadParameter(f"{text!r} is not like 0-4 or 101,102,103")
        if int(last or first) < int(first):
            raise typer.BadParameter(f"{text!r} holds a range that goes down")
        seeds.extend(range(int(first), int(last or first) + 1))
    if len(set(seeds)) < len(seeds):
        raise typer.BadParameter(f"{text!r} names a seed twice")
    return seeds


def _whole(least: int) -> Callable[[object], int]:
    def parse(given: object) -> int:
        text = str(given)  # a default is a number already
        if not text.isdecimal() or int(text) < least:
            raise typer.BadParameter(f"{text!r} is not a whole number from {least} on")
        return int(text)

    return parse


def _study(name: str) -> str:
    if name not in studies.NAMES:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(studies.NAMES)}")
    return name


def _questions() -> str:
    """Return what each study asks, which stands beside its code."""
    asked = (tomllib.loads((files(studies) / name / "study.toml").read_text()) for name in studies.NAMES)
    return " ".join(f"{name}: {words['question']}" for name, words in zip(studies.NAMES, asked, strict=True))


def _source(text: str) -> tuple[str, str]:
    bank, _, parent = text.partition("=")
    if not bank or parent not in ("A", "B", "A+B"):
        raise typer.BadParameter(f"{text!r} is not like left=A, right=B or 0=A+B")
    return bank, parent


class _Verbs(TyperGroup):
    def get_help_option(self, ctx: Any) -> Any:
        option: Any = super().get_help_option(ctx)
        option.default = False  # by None, typer would import pydantic first: 0.2 s
        return option


class _ManyBanks(TyperCommand):
    """A verb whose ``--bank`` takes several values, ``--bank left right``, and may be repeated."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread, option = [], ""
        for argument in args:
            if argument.startswith("-"):
                option = argument
            elif option == "--bank" != spread[-1]:
                spread.append(option)
            spread.append(argument)
        return super().parse_args(ctx, spread)


# Parsers decide on the types that are Any here.
Study = Annotated[Any, typer.Argument(parser=_study, metavar="|".join(studies.NAMES), help=_questions())]
Seed = Annotated[Any, typer.Option(parser=_whole(0), metavar="N")]
Seeds = Annotated[Any, typer.Option(parser=parse_seeds, metavar="0-4|101,102,103")]
Workers = Annotated[Any, typer.Option(parser=_whole(1), metavar="N", help="runs side by side")]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="folder of the study")]
OwnOut = Annotated[Path | None, typer.Option(metavar="FOLDER", help="(default: runs/NAME)")]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE")]
Pages = Annotated[list[Path] | None, typer.Option(metavar="PAGE")]
Picture = Annotated[Path | None, typer.Option(metavar="PNG", help="also draw the slots' norms")]
Sources = Annotated[list[Any] | None, typer.Option(parser=_source, metavar="BANK=PARENT")]
Banks = Annotated[list[str] | None, typer.Option(metavar="BANK")]
NewFile = Annotated[Path, typer.Option(metavar="FILE", help="a new file")]
NewOrSame = Annotated[Path | None, typer.Option(metavar="FILE", help="a new file (else in place)")]
User = Annotated[str | None, typer.Option(metavar="USER")]
StoreOrNone = Annotated[str | None, typer.Option(metavar="FOLDER", help="or redis://HOST:PORT/0")]
Store = Annotated[str, typer.Option(metavar="FOLDER", help="or redis://HOST:PORT/0")]
Conflict = Literal["error", "overwrite", "merge"]

_PLAIN: Any = {"cls": _Verbs, "add_completion": False, "rich_markup_mode": None, "subcommand_metavar": "VERB ..."}
app = typer.Typer(help="Lateralized, persistent memory for transformers.", **_PLAIN)
memory = typer.Typer(help="Look at memory files and stores, or edit them, without a model.", **_PLAIN)
app.add_typer(memory, name="memory")


def _version(asked: bool) -> bool:
    if asked:
        _say(f"callosal {callosal.__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _program(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None: ...


@app.command()
def reproduce(
    recipe: Recipe = "quick", seeds: Seeds = "0-2", out: Out = Path("runs/quick"), workers: Workers = 2
) -> int:
    """Train every arm of a recipe and report on the claims."""
    from callosal.lab.report.records import ARMS
    from callosal.lab.studies.benchmark.recipe import RECIPES

    configs = [RECIPES[recipe](arm, seed) for seed in seeds for arm in ARMS]
    failed = _run(configs, out, num_workers=workers)
    return report(out) or failed


@app.command()
def study(name: Study, seeds: Seeds = None, out: OwnOut = None, workers: Workers = 2) -> int:
    """Run a study, or what is left of it, and report on it.

    By default with the seeds of the committed results.
    """
    from callosal.lab.studies import catalog

    folder = out or Path("runs") / name
    configs, run = catalog.configs(name, seeds), catalog.run_of(name)
    failed = _run(configs, folder, num_workers=workers, **({} if run is None else {"run": run}))
    return report(folder) or failed


@app.command()
def contract() -> int:
    """Print how every memory and rival keeps the contract."""
    from callosal.contract import contract_table
    from callosal.lab.studies.rivals.recipe import check_contenders

    reports = check_contenders()
    print(contract_table(reports))
    return int(any(report.broken for report in reports.values()))


@app.command()
def train(
    recipe: Recipe = "quick",
    arm: Arm = "inhibitory",
    seed: Seed = 0,
    out: Out = Path("runs/train"),
    changes: Changes = None,
) -> int:
    """Train one run, on its recipe or off it.

    With a field changed, such as --set memory.gain=6, it is off it, and no evidence for a claim.
    """
    from callosal.lab.runs import override
    from callosal.lab.studies.benchmark.recipe import RECIPES

    config = override(RECIPES[recipe](arm, seed), changes or [])
    failed = _run([config], out, num_workers=1)
    _say(out / "runs" / config.name)
    return failed


@app.command()
def demo(
    model: Annotated[str | None, typer.Argument(help="folder or name of a causal language model")] = None,
    memory: Annotated[str | None, typer.Option(metavar="ADAPTER", help="memories trained for it")] = None,
    store: Annotated[Path, typer.Option(metavar="FOLDER", help="users' memories")] = Path("users"),
    run: Annotated[Path | None, typer.Option(metavar="FOLDER", help="of a run, for the cipher")] = None,
    port: Annotated[Any, typer.Option(parser=_whole(1), metavar="N", help="(default: a free one from 7860 on)")] = None,
) -> int:
    """Open a page that shows a memory at work.

    A chat with a model, and a cipher that a small model is told. Without a model, the cipher alone.
    """
    from callosal.demo.app import serve

    serve(model, memory=memory, store=store, run=run, port=port)
    return 0


def _run(configs: Sequence[Any], folder: Path, **how: Any) -> int:
    from callosal.lab.runner import require_writable, run_all

    require_writable(folder)
    failures = run_all(configs, folder, **how)
    for failure in failures:
        _fail(f"callosal: {failure}")
    return int(bool(failures))


@app.command()
def evaluate(run: Path) -> int:
    """Evaluate a trained run on the held-out stream.

    Its folder is one such as runs/quick/runs/quick-inhibitory-...
    """
    from callosal.lab.runner import evaluate_held_out, load_trained
    from callosal.lab.runs import load_config

    config = load_config(run)
    evaluation = evaluate_held_out(load_trained(config, run), config)
    print(json.dumps({"run": config.name, **asdict(evaluation)}, indent=1))
    return 0


@app.command()
def report(folder: Path, into: Pages = None) -> int:
    """Rebuild tables, figures and the page from recorded runs.

    --into also puts the tables into a Markdown page, between the marks that name them.
    """
    from rich.console import Console

    from callosal.lab.report.build import PAGE_FILE
    from callosal.lab.studies.catalog import read_report

    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; make one with callosal reproduce")
    found = read_report(folder)
    found.write()
    for page in into or []:
        found.fill(page)
    found.show(Console())
    _say(f"The page, with pictures: {folder / PAGE_FILE}")
    return 0


@memory.command()
def inspect(
    file: Annotated[Path | None, typer.Argument(show_default=False)] = None,
    user: User = None,
    store: StoreOrNone = None,
    picture: Picture = None,
) -> int:
    """Show banks, slots in use, norms, age and notes.

    Of a file, or of what a store has of a --user behind all layers.
    """
    from callosal.memory.disk.storage import read_file

    if (file is None) == (user is None) or (user is None) != (store is None):
        raise ValueError("inspect shows a FILE, or a --user of a --store; name one of the two")
    with _warned():
        layers = read_file(file) if file is not None else _opened(store).layers(str(user))
    if not layers:
        return _fail(f"callosal: {store} does not know user {user!r}; callosal memory users lists those it knows", 1)
    if picture is not None:
        _draw(layers, file or store, picture)
    return _list(layers, file or store)


def _list(layers: "Mapping[str, StoredMemory]", place: object) -> int:
    from callosal.memory.disk.listing import list_memory

    for layer, stored in layers.items():
        _say(*list_memory(stored, place, layer))
    return 0


def _draw(layers: "Mapping[str, StoredMemory]", place: object, picture: Path) -> None:
    from callosal.lab.report.memory_picture import draw_norms
    from callosal.memory.disk.format import only_layer
    from callosal.memory.editing import bank_name
    from callosal.memory.inspection import slot_norms

    stored = layers[only_layer(layers, place)]
    if picture.exists() and not (picture.is_file() and _begins(picture, _PNG)):
        raise ValueError(f"{picture} is there and no picture; choose another file for it")
    norms = slot_norms(stored.state)
    names = [bank_name(bank, norms.shape[1]) for bank in range(norms.shape[1])]
    picture.write_bytes(draw_norms(norms.numpy(), names, stored.header.max_slot_norm))
    _say(f"The picture: {picture}")


def _begins(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


@memory.command()
def users(store: Store) -> int:
    """List the users of a store."""
    with _warned():
        _say(*_opened(store).users())
    return 0


@memory.command()
def forget(user: str, store: Store) -> int:
    """Delete all that a store has of a user."""
    with _warned():
        gone = _opened(store).forget(user)
    if not gone:
        return _fail(f"callosal: {store} does not know user {user!r}; nothing was deleted", 1)
    _say(f"Forgotten: {user!r}, {_named(gone)}. Nothing is left.")
    return 0


@memory.command()
def export(user: str, file: Path, store: Store) -> int:
    """Write all that a store has of a user into a new file."""
    with _warned():
        layers = _opened(store).export_user(user, file)
    _say(f"{file}: {user!r}, {_named(layers)}")
    return 0


@memory.command("import")
def import_(file: Path, store: Store, user: User = None, on_conflict: Conflict = "error") -> int:
    """Take a user from a file that export wrote into a store."""
    name = _opened(store, new=True).import_user(file, user, on_conflict=on_conflict)
    _say(f"{store}: {name!r}")
    return 0


def _named(layers: Sequence[str]) -> str:
    return ", ".join(f"layer {layer}" if layer else "the memory itself" for layer in layers)


def _opened(place: str | None, *, new: bool = False) -> "callosal.stores.Store":
    """Return a store by its folder or its server's address."""
    from callosal.stores import MemoryStore, RedisStore

    place = str(place)
    if place.startswith(("redis://", "rediss://", "unix://")):
        return RedisStore(place)
    if not new and not Path(place).is_dir():
        raise ValueError(f"there is no folder {place}; give that of a store, or the address of a Redis server")
    return MemoryStore(place)


@contextmanager
def _warned() -> Iterator[None]:
    """Print warnings as lines of our own."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    for warning in said:
        _fail(f"callosal: {warning.message}")


@memory.command()
def diff(a: Path, b: Path) -> int:
    """Show how the banks of two files differ."""
    from callosal.memory.disk.files import diff_files
    from callosal.memory.disk.listing import list_changes

    changes, remarks = diff_files(a, b)
    _say(*list_changes(changes), *(f"Note: {remark}." for remark in remarks))
    return 0


@memory.command(cls=_ManyBanks)
def merge(a: Path, b: Path, out: NewFile, bank: Sources = None) -> int:
    """Make one memory of two, bank by bank.

    A bank comes from a parent, as by --bank left=A right=B 2=A+B; those left out come from both.
    """
    from callosal.memory.disk.files import merge_files

    banks = dict(bank or [])
    if len(banks) < len(bank or []):
        raise ValueError("--bank names a bank twice; name each bank once")
    return _list({"": merge_files(a, b, out, banks)}, out)


@memory.command()
def fork(file: Path, copies: list[Path]) -> int:
    """Copy a memory into new files that go on by their own."""
    from callosal.memory.disk.files import fork_file

    fork_file(file, copies)
    _say(*copies)
    return 0


@memory.command(cls=_ManyBanks)
def reset(file: Path, bank: Banks = None, out: NewOrSame = None) -> int:
    """Blank banks of a memory: left, right or a number.

    By default all of them are, and the carried context.
    """
    from callosal.memory.disk.files import reset_file
    from callosal.memory.disk.storage import read_file

    reset_file(file, bank or None, out)
    return _list(read_file(out or file), out or file)
