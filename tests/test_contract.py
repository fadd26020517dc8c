"""The contract kit: our memory keeps every law, a fault turns its law red, and the page is true."""

import copy
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.cases import build_memory
from tests.faults import AROUND, CONFIG, INSIDE, Cache, Call, Faulty, Forgetful, Leftover
from tests.laws import OWN, QUICK
from tests.shapes import unchecked
from tests.tolerances import EXACT, SINGLE
from torch import Tensor, nn

from callosal import check_memory
from callosal.contract import LAWS, ContractError, ContractReport, contract_table
from callosal.contract.states import TOLERANCES, map_tensors, select_rows, tensors_of
from callosal.memory import LateralMemory, Memory, MemoryState

PAGE = (Path(__file__).parent.parent / "docs" / "contract.md").read_text()


def check(memory: nn.Module, width: int = 4, **how: Any) -> ContractReport:
    """Run the laws without the suite's shape checks, which would find some faults first."""
    with unchecked():
        return check_memory(memory, width=width, **how)


def found(memory: nn.Module, **how: Any) -> dict[str, str]:
    """Return what is not kept, by law."""
    report = check(memory, **how)
    return {r.name: r.status for r in report.results if r.status != "kept"}


# ---------------------------------------------------------------- our own memory


@pytest.mark.parametrize(
    "fixed",
    [
        *[{"num_banks": num, "drive": drive} for num in (1, 2, 4) for drive in ("axis", "slots")],
        {"drive": "gradient"},
        {"context": "token"},
        {"write": "delta"},
        {"carry": 0.8},
        {"recollection": 0.3},
        {"recollection": 1.0, "carry": 0.5, "drive": "gradient", "salience": "retrieved"},
        {"crosstalk": "received", "detach_context": True},
        {"observe": True},
        {"salience": "learned"},
        {"salience": "retrieved", "drive": "slots"},
        {"inner_width": 2, "carry": 0.8},
        {"output_gate": True},
        {"gates": "hidden", "inner_width": 2, "salience": "learned", "output_gate": True, "calibrated": True},
        *[{"normalised": "retrieved", "write": write, "observe": True} for write in ("bounded", "delta")],
        {"calibrated": True},
        {"calibrated": True, "inner_width": 3, "observe": True, "salience": "retrieved", "write": "delta"},
    ],
    ids=str,
)
def test_the_lateral_memory_keeps_every_law(fixed: dict[str, Any]) -> None:
    report = check(build_memory(**fixed))
    assert {r.name: r.detail for r in report.results if r.status != "kept"} == {}
    assert [r.name for r in report.results] == [law.name for law in LAWS]


def test_it_keeps_them_in_float32_too_and_its_own_as_well() -> None:
    assert found(build_memory(), dtype=torch.float32, laws=QUICK) == {}
    assert found(build_memory(), laws=OWN) == {}
    grown = build_memory(calibrated=True, inner_width=3, observe=True, salience="retrieved")
    assert found(grown, dtype=torch.float32, laws=QUICK) == {}
    assert found(grown, laws=OWN) == {}


def test_a_write_that_overflows_is_reported_and_breaks_nothing() -> None:
    memory = build_memory(write="additive")
    with torch.no_grad():
        memory.maps.mul_(10.0)
    assert found(memory) == {"bounded": "no"}


def test_the_tolerances_are_those_of_the_suite() -> None:
    assert {torch.float64: EXACT, torch.float32: SINGLE} == TOLERANCES


# ---------------------------------------------------------------- planted faults


@pytest.mark.parametrize("name", [*AROUND, *INSIDE])
def test_a_fault_turns_its_laws_red(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in AROUND:
        fault, expected = AROUND[name]
        memory = Faulty(fault)
    else:
        part, replaced, expected = INSIDE[name]
        original = getattr(*part)
        monkeypatch.setattr(*part, lambda *given: replaced(original, *given))
        memory = build_memory(CONFIG)
    report = check(memory, laws=[*QUICK, *OWN])
    red = [result for result in report.results if result.status != "kept"]
    assert {result.name for result in red} == expected
    # Every figure says what is off, and a property that is lacking is no breach.
    assert all(result.detail for result in red)
    assert [r.name for r in report.broken] == [r.name for r in red if r.required]


def test_every_law_has_a_fault() -> None:
    red = set().union(*(row[-1] for row in [*AROUND.values(), *INSIDE.values()]))
    # The test above, of an additive write, has the other.
    assert red | {"bounded"} == {law.name for law in [*LAWS, *OWN]}


def test_a_state_that_loses_rows_is_counted() -> None:
    def loses_rows(call: Call) -> Any:
        y, after = call.honest()
        return y, after[:1]

    (result,) = check(Faulty(loses_rows), laws=LAWS[:1]).results
    assert (result.status, result.detail) == ("broken", "3 rows of input, 1 of the state")


def test_a_blank_state_with_leftovers_is_found() -> None:
    assert found(Leftover(CONFIG), laws=QUICK) == {"blank rows": "broken"}


def test_the_report_says_by_how_much_a_memory_grows() -> None:
    report = check(Cache(4))
    assert not report.broken
    (growth,) = [(r.status, r.detail) for r in report.results if r.name == "bounded"]
    assert growth == ("no", "the state grew 251-fold, from 72 to 18072 numbers")


def test_what_is_not_offered_and_what_is_lacking_break_nothing() -> None:
    report = check(Forgetful(4))
    report.raise_if_broken()
    assert {r.name: r.status for r in report.results if r.status != "kept"} == {
        **dict.fromkeys(["masked is absent", "masked is absent over segments"], "not offered"),
        **dict.fromkeys(["pieces equal whole", "detach cuts"], "not offered"),
        **dict.fromkeys(["remembers", "gradient through the state"], "no"),
    }


def test_rounding_is_called_rounding() -> None:
    report = check(Faulty(AROUND["mixes rows"][0]), laws=QUICK)
    assert "row 0 changes others: only rounding, yet not the same bits" in report.broken[0].detail


def test_a_crash_is_a_breach_that_says_what_was_raised() -> None:
    def crashes(call: Call) -> Any:
        if call.hidden.ndim == 4:
            raise RuntimeError("out of\nreach")
        return call.honest()

    report = check(Faulty(crashes), laws=QUICK)
    names = {"segments at once", "no look-ahead over segments", "masked is absent over segments"}
    assert {r.name: r.detail for r in report.broken} == dict.fromkeys(names, "RuntimeError: out of reach")


# ---------------------------------------------------------------- the check itself


def test_the_memory_and_the_global_seed_stay_as_they_are() -> None:
    memory = LateralMemory(CONFIG).train()
    kept, seed = copy.deepcopy(memory.state_dict()), torch.get_rng_state()
    check(memory, laws=QUICK)
    assert memory.training
    assert torch.equal(torch.get_rng_state(), seed)
    for name, tensor in memory.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, kept[name])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"batch_size": 1}, "batch_size is 1; it must be at least 2"),
        ({"num_segments": 1}, "num_segments is 1"),
        ({"num_tokens": 0}, "num_tokens is 0"),
        ({"dtype": torch.bfloat16}, "dtype is torch.bfloat16; it must be one of"),
    ],
    ids=str,
)
def test_a_check_that_could_say_nothing_is_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(Cache(4), **how)


def test_a_memory_that_cannot_be_called_at_all_gets_advice() -> None:
    with pytest.raises(ValueError, match="this memory takes") as caught:
        check(LateralMemory(CONFIG), width=5)
    assert "hidden torch.float64 [3, 5, 5]" in caught.value.__notes__[0]


def test_a_broken_contract_lists_each_law_with_its_figure() -> None:
    report = check(Faulty(AROUND["cuts the gradient if many"][0]), laws=QUICK)
    with pytest.raises(ContractError, match=r"Faulty breaks the contract\n  segments at once: gr"):
        report.raise_if_broken()
    (line,) = [line for line in str(report).splitlines() if "broken" in line]
    assert re.search(r"segments at once +broken  gradient of the first state: off by \d", line)
    cells = "| segments at once | broken | gradient of the first state: off by"
    assert cells in report.to_markdown()


def test_a_table_has_a_column_for_each_memory() -> None:
    laws = [law for law in QUICK if law.name in {"finite", "pieces equal whole"}]
    reports = {"a": check(Cache(4), laws=laws)}
    reports["b"] = check(LateralMemory(CONFIG), laws=laws[:1])
    assert contract_table(reports).splitlines() == [
        "| law | a | b |",
        "|---|---|---|",
        "| finite | kept | kept |",
        "| pieces equal whole | not offered |  |",
    ]


class Pair(NamedTuple):
    one: Tensor
    other: dict[str, Tensor]


class Plain:
    def __init__(self) -> None:
        self.rows, self.name = [torch.ones(3, 2)], "plain"


STATES = [
    (torch.ones(3), ["state"]),
    ((torch.ones(3), None), ["state.0"]),
    ([torch.ones(3), torch.ones(3, 1)], ["state.0", "state.1"]),
    (Pair(torch.ones(3), {"a": torch.ones(3)}), ["state.one", "state.other.a"]),
    (Plain(), ["state.rows.0"]),
    (MemoryState(trace=torch.ones(3, 1, 1, 1)), ["state.trace"]),
]


@pytest.mark.parametrize(("state", "names"), STATES, ids=lambda value: type(value).__name__)
def test_states_of_any_make_are_taken_apart_and_put_together(state: Any, names: list[str]) -> None:
    assert list(tensors_of(state)) == names
    doubled = map_tensors(state, lambda tensor: 2 * tensor)
    assert type(doubled) is type(state)
    assert list(tensors_of(doubled)) == names
    assert all((tensor == 2).all() for tensor in tensors_of(doubled).values())
    assert all((tensor == 1).all() for tensor in tensors_of(state).values())
    assert {len(tensor) for tensor in tensors_of(select_rows(state, [2, 0])).values()} == {2}


# ---------------------------------------------------------------- the page


def test_the_report_on_the_page_is_the_report_of_a_memory(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[:2]:
        exec(compile(block, "docs/contract.md", "exec"), names)  # noqa: S102
    (printed,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    assert str(names["report"]) in capsys.readouterr().out
    ours, theirs = (re.sub(r"\d+\.\d+(e-\d+)?", "#", text.strip()) for text in (str(names["report"]), printed))
    assert ours == theirs
    assert isinstance(names["GRUMemory"](4), Memory)


def test_the_page_s_tables_are_the_laws() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", PAGE, flags=re.MULTILINE)
    assert rows == [
        row
        for required, title in ((True, "Law"), (False, "Property"))
        for row in [(title, "What is so"), *((law.name, law.sentence) for law in LAWS if law.required == required)]
    ]
