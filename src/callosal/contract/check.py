"""Run the laws against a memory, and report which it keeps."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from callosal.contract import laws as checks
from callosal.contract.states import TOLERANCES, map_tensors

Status = Literal["kept", "broken", "not offered", "no"]
Need = Literal["mask", "pieces", "segments"]

# How a memory says that it does not do something.
_REFUSALS = (NotImplementedError, ValueError, TypeError)


class ContractError(AssertionError):
    """A memory breaks laws that every memory has to keep."""


@dataclass(frozen=True)
class Law:
    """A law that a memory must keep, or a property that it may have.

    Attributes:
        name: a few words.
        sentence: what holds where the law is kept.
        check: takes memory, hidden states, state and mask; AssertionError where it is broken, else a figure or None.
        needs: what a memory may not offer: "segments" (4-D input), "mask", "pieces" (``commit=``).
        required: False for a property that a memory may well lack.
    """

    name: str
    sentence: str
    check: Callable[[Any, Tensor, Any, Tensor | None], str | None]
    needs: tuple[Need, ...] = ()
    required: bool = True


def _law(name: str, check: Any, *needs: Need, sentence: str | None = None, required: bool = True) -> Law:
    """Return a law whose sentence, where none is given, is the docstring of its check."""
    return Law(name, sentence or check.__doc__, check, needs, required)


LAWS = (
    _law("shape and dtype", checks.keeps_shape_and_dtype),
    _law("finite", checks.is_finite),
    _law("calls agree", checks.inputs_stay_and_calls_agree),
    _law("no look-ahead", checks.no_look_ahead),
    _law(
        "no look-ahead over segments",
        checks.no_look_ahead,
        "segments",
        sentence="What a later segment holds changes nothing in an earlier one.",
    ),
    _law("segments at once", checks.segments_at_once_equal_calls, "segments"),
    _law("rows do not leak", checks.rows_do_not_leak),
    _law("rows select", checks.rows_select),
    _law("blank rows", checks.blank_rows_are_alike),
    _law("masked is absent", checks.masked_is_absent, "mask"),
    _law(
        "masked is absent over segments",
        checks.masked_is_absent,
        "mask",
        "segments",
        sentence="The same where many segments come in one call.",
    ),
    _law("pieces equal whole", checks.pieces_equal_whole, "pieces"),
    _law("detach cuts", checks.detach_cuts),
    _law("save and load", checks.save_and_load_agree),
    _law("remembers", checks.remembers, required=False),
    _law("gradient through the state", checks.gradient_through_state, required=False),
    _law("bounded", checks.stays_bounded, required=False),
)


@dataclass(frozen=True)
class LawResult:
    """What one law found: ``no`` is a property that the memory lacks, which breaks nothing."""

    name: str
    sentence: str
    required: bool
    status: Status
    detail: str = ""


@dataclass(frozen=True)
class ContractReport:
    """What every law found on one memory. Print it."""

    memory: str
    results: tuple[LawResult, ...]

    @property
    def broken(self) -> list[LawResult]:
        """The required laws that the memory breaks."""
        return [result for result in self.results if result.status == "broken"]

    def raise_if_broken(self) -> None:
        """Raise if a required law is broken.

        Raises:
            ContractError: it lists each broken law with its figure.
        """
        if self.broken:
            lines = [f"  {r.name}: {r.detail} ({r.sentence})" for r in self.broken]
            raise ContractError("\n".join([f"{self.memory} breaks the contract", *lines]))

    def __str__(self) -> str:
        widths = [max(len(getattr(r, key)) for r in self.results) for key in ("name", "status")]
        lines = [self.memory]
        for heading, required in (("laws", True), ("properties", False)):
            own = [result for result in self.results if result.required == required]
            lines += [heading] * bool(own)
            lines += [f"  {r.name:{widths[0]}}  {r.status:{widths[1]}}  {r.detail}".rstrip() for r in own]
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """Return a Markdown table: law, result, why."""
        rows = [(r.name, r.status, r.detail) for r in self.results]
        return _markdown([(self.memory, "result", "why"), *rows])


def contract_table(reports: Mapping[str, ContractReport]) -> str:
    """Return a Markdown table with a row for each law and a column for each memory."""
    found = {title: {r.name: r.status for r in report.results} for title, report in reports.items()}
    names = dict.fromkeys(name for statuses in found.values() for name in statuses)
    rows = [(name, *(statuses.get(name, "") for statuses in found.values())) for name in names]
    return _markdown([("law", *found), *rows])


def check_memory(
    memory: nn.Module,
    *,
    width: int,
    laws: Sequence[Law] | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    batch_size: int = 3,
    num_segments: int = 3,
    num_tokens: int = 5,
) -> ContractReport:
    """Run laws against a copy of a memory, in evaluation mode, on random input.

    Args:
        memory: a module with ``blank(batch_size)`` and ``(hidden, state) -> (y, state)``
            (:class:`callosal.memory.Memory`).
        width: of the hidden states.
        laws: those to run; None runs :data:`LAWS`.
        seed: of the input.
        dtype: float64, in which rounding hides nothing, or float32 for a memory that knows no other.
        batch_size: at least 2.
        num_segments: at least 2.
        num_tokens: of a segment, at least 2.

    Raises:
        ValueError: a size is too small for a law to say anything, or there is no tolerance for the dtype.

    >>> from callosal.memory import LateralMemory, MemoryConfig
    >>> report = check_memory(LateralMemory(MemoryConfig(width=4, num_slots=3)), width=4)
    >>> report.raise_if_broken()
    """
    sizes = {"batch_size": batch_size, "num_segments": num_segments, "num_tokens": num_tokens}
    for name, size in sizes.items():
        if size < 2:
            raise ValueError(f"{name} is {size}; it must be at least 2, or laws say nothing")
    if dtype not in TOLERANCES:
        raise ValueError(f"dtype is {dtype}; it must be one of {list(TOLERANCES)}")
    pristine = copy.deepcopy(memory).to(dtype).eval()
    device = next((parameter.device for parameter in memory.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)

    shape = (batch_size, num_segments, num_tokens)
    hidden = torch.randn(*shape, width, generator=generator, dtype=dtype).to(device)
    earlier = torch.randn(batch_size, num_tokens, width, generator=generator, dtype=dtype)
    mask = torch.rand(shape, generator=generator) < 0.6
    mask[0] = False  # a row that sees nothing at all
    mask[1, :, 0], mask[1, :, 1] = False, True  # padding on the left, and no empty segment

    results = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        with torch.no_grad():
            run: Any = copy.deepcopy(pristine)
            try:
                _, state = run(earlier.to(device), run.blank(batch_size))
            except Exception as error:
                error.add_note(
                    f"check_memory called memory(hidden, memory.blank({batch_size})) with hidden {dtype} "
                    f"[{batch_size}, {num_tokens}, {width}]; the state should take its dtype from the parameters, or "
                    "check the memory with dtype=torch.float32"
                )
                raise
        inputs = hidden, state, mask.to(device)
        refused = _refused(pristine, *inputs)
        for one in LAWS if laws is None else laws:
            status, detail = _run(one, copy.deepcopy(pristine), refused, *inputs)
            results.append(LawResult(one.name, one.sentence, one.required, status, detail))
    return ContractReport(type(memory).__name__, tuple(results))


def _refused(pristine: Any, hidden: Tensor, state: Any, mask: Tensor) -> dict[Need, str]:
    """Return what a memory does not offer, and how it says so."""
    tries: dict[Need, Callable[[Any], Any]] = {
        "segments": lambda memory: memory(hidden, state),
        "mask": lambda memory: memory(hidden[:, 0], state, mask[:, 0]),
        "pieces": lambda memory: memory(hidden[:, 0], state, commit=False),
    }
    refused: dict[Need, str] = {}
    if "commit" not in inspect.signature(pristine.forward).parameters:
        refused["pieces"] = "forward() takes no commit="
        del tries["pieces"]
    for need, attempt in tries.items():
        try:
            attempt(copy.deepcopy(pristine))
        except _REFUSALS as error:
            refused[need] = _one_line(error)
        except Exception:  # noqa: BLE001, S110  # the laws that need it meet it again, and report it
            pass
    return refused


def _run(
    law: Law, memory: Any, refused: Mapping[Need, str], hidden: Tensor, state: Any, mask: Tensor
) -> tuple[Status, str]:
    for need in law.needs:
        if need in refused:
            return "not offered", refused[need]
    if "segments" not in law.needs:
        hidden, mask = hidden[:, 0], mask[:, 0]
    # A copy, since a memory that spoils its input would spoil the next law's, too.
    hidden, state, mask = map_tensors((hidden, state, mask), Tensor.clone)
    try:
        figure = law.check(memory, hidden, state, mask if "mask" in law.needs else None)
    except NotImplementedError as error:
        return "not offered", _one_line(error)
    except AssertionError as error:
        return "broken" if law.required else "no", str(error) or "it is not so"
    except Exception as error:  # noqa: BLE001  # a user's module may raise anything
        # No refusal, but a crash: a memory that refuses raises ValueError or NotImplementedError.
        return "broken" if law.required else "no", _one_line(error)
    return "kept", figure or ""


def _one_line(error: Exception) -> str:
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return line if len(line) <= 100 else f"{line[:99]}…"


def _markdown(rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
