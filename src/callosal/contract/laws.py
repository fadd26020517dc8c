"""The laws of a memory: functions that raise AssertionError, with a figure, where one is broken.

All take the memory, what it sees, the state before and a mask or None. The tests of this library call them on cases
that hypothesis draws; :mod:`callosal.contract.check` calls them on a user's memory. A report quotes their docstrings.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from callosal.contract.states import (
    TOLERANCES,
    assert_near,
    assert_same_bits,
    assert_same_state,
    map_tensors,
    select_rows,
    tensors_of,
)

Mask = Tensor | None


def keeps_shape_and_dtype(memory: Any, hidden: Tensor, state: Any, mask: Mask = None) -> None:
    """The output has the shape and dtype of the input, the state as many rows."""
    for start in (memory.blank(len(hidden)), state):
        y, after = _call(memory, hidden, start, mask)
        assert y.shape == hidden.shape, f"{tuple(hidden.shape)} became {tuple(y.shape)}"
        assert y.dtype == hidden.dtype, f"{hidden.dtype} became {y.dtype}"
        for one in (start, after):
            rows = len(one) if hasattr(one, "detach") else len(hidden)
            assert rows == len(hidden), f"{len(hidden)} rows of input, {rows} of the state"


def is_finite(memory: Any, hidden: Tensor, state: Any, mask: Mask = None) -> None:
    """Finite input gives a finite output and state."""
    for start in (memory.blank(len(hidden)), state):
        y, after = _call(memory, hidden, start, mask)
        for name, tensor in {"output": y, **tensors_of(after)}.items():
            number = int((~tensor.isfinite()).sum())
            assert number == 0, f"{name}: {number} of {tensor.numel()} entries are not finite"


def inputs_stay_and_calls_agree(memory: Any, hidden: Tensor, state: Any, mask: Mask = None) -> None:
    """A call changes nothing that it is given and nothing on the module; a second gives the same."""
    values = {"hidden": hidden, "mask": mask, "state": state, "module": memory.state_dict()}
    values["buffers"] = dict(memory.named_buffers())  # some are not in the state_dict
    kept, attributes = map_tensors(values, Tensor.clone), _attributes(memory)
    first, second = (_named(_call(memory, hidden, state, mask)) for _ in range(2))
    assert_same_state(second, first, None, "second call")
    assert_same_state(values, kept, None, "changed by a call")
    now = _attributes(memory)
    left = [key for key in now if key not in attributes or now[key] is not attributes[key]]
    assert not left, f"a call left {', '.join(left)} on the module"


def no_look_ahead(memory: Any, hidden: Tensor, state: Any, mask: Mask = None, place: int | None = None) -> None:
    """What comes after a token does not change its output."""  # at one place or at each
    before, _ = _call(memory, hidden, state, mask)
    for cut in range(1, hidden.shape[1]) if place is None else [place]:
        changed = torch.cat([hidden[:, :cut], _changed(hidden[:, cut:])], dim=1)
        after, _ = _call(memory, changed, state, mask)
        assert_near(after[:, :cut], before[:, :cut], TOLERANCES[hidden.dtype], f"before {cut}")


def segments_at_once_equal_calls(memory: Any, hidden: Tensor, state: Any, mask: Mask = None) -> None:
    """Many segments in one call give what calls one by one give, gradients too."""
    tolerance = TOLERANCES[hidden.dtype]
    start, leaves = _leaves(state)
    y, after = _call(memory, hidden, start, mask)
    last, ys = start, []
    for index, segment in enumerate(hidden.unbind(1)):
        one, last = _call(memory, segment, last, None if mask is None else mask[:, index])
        ys.append(one)
    in_turn = torch.stack(ys, dim=1)
    _agree((y, after), (in_turn, last), tolerance)
    gradients = [_gradients(_total(*pair), leaves) for pair in ((y, after), (in_turn, last))]
    for leaf, *both in zip(leaves, *gradients, strict=True):
        one, other = (torch.zeros_like(leaf) if grad is None else grad for grad in both)
        assert_near(one, other, tolerance, "gradient of the first state")


def pieces_equal_whole(memory: Any, hidden: Tensor, state: Any, mask: Mask = None, cut: int | None = None) -> None:
    """A segment cut in two (commit=False, then True) is the segment in one call."""
    tolerance, cut = TOLERANCES[hidden.dtype], hidden.shape[1] // 2 if cut is None else cut
    masks = (None, None) if mask is None else (mask[:, :cut], mask[:, cut:])
    first, opened = _call(memory, hidden[:, :cut], state, masks[0], commit=False)
    second, after = _call(memory, hidden[:, cut:], opened, masks[1])
    _agree((torch.cat([first, second], dim=1), after), _call(memory, hidden, state, mask), tolerance)


def rows_do_not_leak(memory: Any, hidden: Tensor, state: Any, mask: Mask = None, row: int | None = None) -> None:
    """Another row's input or state changes no bit of a row, in training either."""
    rows = list(range(len(hidden)))

    def run(training: bool, hidden: Tensor, state: Any) -> Any:
        # A copy each, since training moves buffers; the same seed, since it may drop entries.
        torch.manual_seed(0)
        return _call(copy.deepcopy(memory).train(training), hidden, state, mask)

    with torch.random.fork_rng():
        for training in (False, True):
            y, after = run(training, hidden, state)
            for one in rows if row is None else [row]:
                others = [other for other in rows if other != one]
                changed = hidden.clone()
                changed[one] = _changed(hidden[one].flip(-2))
                # The row gets another row's state, too.
                swapped = select_rows(state, [(r + (r == one)) % len(rows) for r in rows])
                new_y, new = run(training, changed, swapped)
                what = f"row {one} changes others{' in training' if training else ''}"
                assert_same_bits(new_y[others], y[others], what)
                assert_same_state(select_rows(new, others), select_rows(after, others), None, what)


def rows_select(memory: Any, hidden: Tensor, state: Any, mask: Mask = None, rows: list[int] | None = None) -> None:
    """Rows selected before a call are the rows selected after it."""
    rows = list(range(len(hidden)))[::-2] if rows is None else rows
    y, after = _call(memory, hidden, state, mask)
    some = None if mask is None else mask[rows]
    selected = _call(memory, hidden[rows], select_rows(state, rows), some)
    _agree(selected, (y[rows], select_rows(after, rows)), TOLERANCES[hidden.dtype])


def blank_rows_are_alike(memory: Any, hidden: Tensor, state: Any, mask: Mask = None) -> None:
    """A row of a blank state behaves as a blank state of one row."""
    del state
    blank, tolerance = memory.blank(len(hidden)), TOLERANCES[hidden.dtype]
    for row in range(len(hidden)):
        some = None if mask is None else mask[[row]]
        one, alone = (_call(memory, hidden[[row]], s, some) for s in (select_rows(blank, [row]), memory.blank(1)))
        _agree(one, alone, tolerance, f"output of row {row}")


def masked_is_absent(memory: Any, hidden: Tensor, state: Any, mask: Mask) -> None:
    """A masked token, NaN or not, is as if it were not there; its output is zero."""
    assert mask is not None
    tolerance, several = TOLERANCES[hidden.dtype], hidden.ndim == 4
    padded = hidden.masked_fill(~mask[..., None], float("nan")).requires_grad_()
    start, leaves = _leaves(state)
    y, after = memory(padded, start, mask)
    assert_same_bits(y[~mask], torch.zeros_like(y[~mask]), "output of masked tokens")
    for row in range(len(hidden)):
        alone = before = select_rows(state, [row])
        for place in [(row, index) for index in range(hidden.shape[1])] if several else [(row,)]:
            there = mask[place]
            if there.any():
                one, alone = memory(hidden[place][there][None], alone)
                assert_near(y[place][there], one[0], tolerance, "output beside masked tokens")
        assert_same_state(select_rows(after, [row]), alone, tolerance)
        if not mask[row].any():
            assert_same_state(select_rows(after, [row]), before, None, "state of an absent row")
    _, same = memory(torch.full_like(hidden, float("nan")), state, torch.zeros_like(mask))
    assert_same_state(same, state, None, "state after nothing")

    leaves += [parameter for parameter in memory.parameters() if parameter.requires_grad]
    gradients = _gradients(_total(y, after), [padded, *leaves])
    for gradient in gradients:
        assert gradient is None or gradient.isfinite().all(), "a gradient is not finite"
    if gradients[0] is not None:
        masked = gradients[0][~mask]
        assert_same_bits(masked, torch.zeros_like(masked), "gradient of masked tokens")


def detach_cuts(memory: Any, hidden: Tensor, state: Any, mask: Mask = None, **first_call: Any) -> None:
    """What comes after state.detach() sends no gradient to what came before."""
    before = hidden.clone().requires_grad_()
    _, after = _call(memory, before, state, mask, **first_call)
    if not hasattr(after, "detach"):
        raise NotImplementedError(f"a {type(after).__name__} has no detach()")
    # Only parameters can get a gradient: nothing leads back to the hidden states before.
    (gradient,) = _gradients(_total(*_call(memory, hidden, after.detach(), mask)), [before])
    assert gradient is None, "a gradient passes the detached state"


def save_and_load_agree(memory: Any, hidden: Tensor, state: Any, mask: Mask = None) -> None:
    """What training moves is in the state_dict."""
    trained, loaded = copy.deepcopy(memory).train(), copy.deepcopy(memory)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.01)
    _call(trained, hidden, state, mask)
    loaded.load_state_dict(trained.eval().state_dict())
    now, then = (_named(_call(one, hidden, state, mask)) for one in (loaded, trained))
    assert_same_state(now, then, None, "after loading")


def remembers(memory: Any, hidden: Tensor, state: Any, mask: Mask = None) -> str:
    """What one segment held changes what a later one reads."""
    _, after = _call(memory, hidden, state, mask)
    _, other = _call(memory, _changed(hidden), state, mask)
    y, _ = _call(memory, hidden, after, mask)
    moved = (_call(memory, hidden, other, mask)[0] - y).abs().max().item()
    tolerance = TOLERANCES[hidden.dtype] * max(1.0, y.abs().max().item())
    assert moved > 10 * tolerance, f"another segment before moves the output by {moved:.3g}"
    return f"another segment before moves the output by {moved:.3g}"


def gradient_through_state(memory: Any, hidden: Tensor, state: Any, mask: Mask = None) -> str:
    """A later segment's output sends gradient to an earlier segment."""
    before = hidden.clone().requires_grad_()
    _, after = _call(memory, before, state, mask)
    y, _ = _call(memory, hidden, after, mask)
    (gradient,) = _gradients(_total(y), [before])
    size = 0.0 if gradient is None else gradient.abs().max().item()
    assert size > 0.0, "no gradient arrives"
    return f"entries reach {size:.3g}"


def stays_bounded(memory: Any, hidden: Tensor, state: Any, mask: Mask = None, num_segments: int = 300) -> str:
    """After 300 random segments all is finite and the state is no larger than after one."""
    generator = torch.Generator().manual_seed(0)
    size, y = _numbers(state), hidden
    with torch.no_grad():
        for _ in range(num_segments):
            x = torch.randn(hidden.shape, generator=generator, dtype=hidden.dtype)
            y, state = _call(memory, x.to(hidden.device), state, mask)
    for name, tensor in {"output": y, **tensors_of(state)}.items():
        assert tensor.isfinite().all(), f"{name} is not finite after {num_segments} segments"
    now = _numbers(state)
    assert now <= size, f"the state grew {now / max(size, 1):.3g}-fold, from {size} to {now} numbers"
    rows = max(1, len(hidden))
    return f"{now // rows} numbers a row"


def _call(memory: Any, hidden: Tensor, state: Any, mask: Mask, **how: Any) -> Any:
    # A memory without masks need not have the argument.
    return memory(hidden, state, **how) if mask is None else memory(hidden, state, mask, **how)


def _agree(actual: Any, expected: Any, tolerance: float, what: str = "output") -> None:
    """Compare the outputs and states of two calls."""
    assert_near(actual[0], expected[0], tolerance, what)
    assert_same_state(actual[1], expected[1], tolerance)


def _named(result: tuple[Tensor, Any]) -> dict[str, Any]:
    return {"output": result[0], "state": result[1]}


def _changed(hidden: Tensor) -> Tensor:
    """Return other hidden states: other also to a memory that takes mean, norm or sign away."""
    ramp = torch.arange(hidden.shape[-1], dtype=hidden.dtype, device=hidden.device)
    return -1.5 * hidden + torch.cos(ramp)


def _attributes(memory: Any) -> dict[str, Any]:
    return {
        f"{name}.{key}".lstrip("."): value
        for name, module in memory.named_modules()
        for key, value in vars(module).items()
    }


def _numbers(state: Any) -> int:
    return sum(tensor.numel() for tensor in tensors_of(state).values())


def _leaves(state: Any) -> tuple[Any, list[Tensor]]:
    """Return the state as a start of differentiation, and those of its tensors that can be one."""
    start = map_tensors(state, lambda t: t.detach().clone().requires_grad_(t.is_floating_point()))
    return start, [tensor for tensor in tensors_of(start).values() if tensor.requires_grad]


def _total(y: Tensor, state: Any = None) -> Tensor:
    """Return a number that depends on every entry, on each in its own way."""
    parts = [y, *(tensor for tensor in tensors_of(state).values() if tensor.is_floating_point())]
    total = y.new_zeros(())
    for part in parts:
        ramp = torch.arange(part.numel(), dtype=part.dtype, device=part.device)
        total = total + (part.flatten() * torch.cos(ramp)).sum()
    return total


def _gradients(total: Tensor, leaves: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Return the gradient of each leaf, None where nothing leads to it."""
    if not (total.requires_grad and leaves):
        return [None] * len(leaves)
    return torch.autograd.grad(total, leaves, allow_unused=True)
