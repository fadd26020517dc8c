"""What the demo shows of a memory, as HTML: pure functions of tensors and words, styled by ``page.css``.

A bank keeps its colour everywhere on the page. Nothing is told by a colour alone: every strip and cell says its numbers
when pointed at, and every panel has them in words.
"""

import math
from collections.abc import Sequence
from html import escape

from jaxtyping import Float
from torch import Tensor

from callosal.lab.report.marks import BANK_COLOURS, BLUE, RED
from callosal.memory.editing import bank_name
from callosal.memory.inspection import USED_SHARE

# Of characters that a strip would not show.
_SHOWN = str.maketrans({"\n": "↵", "\t": "⇥", " ": "\N{NO-BREAK SPACE}"})
_WIDTH, _HEIGHT = 520, 230
# What a curve's frame leaves free at its left, right, top and bottom.
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 48


def colour_of(bank: int) -> str:
    """Return a bank's colour."""
    return BANK_COLOURS[bank % len(BANK_COLOURS)]


def names_of(num_banks: int) -> list[str]:
    """Return what the banks of a memory are called."""
    return [bank_name(bank, num_banks) for bank in range(num_banks)]


def legend(num_banks: int) -> str:
    """Show which colour is which bank's.

    >>> "left" in legend(2)
    True
    """
    entries = (
        f'<span class="cl-key"><i style="background:{colour_of(bank)}"></i>{escape(name)}</span>'
        for bank, name in enumerate(names_of(num_banks))
    )
    return f'<div class="cl-legend">{"".join(entries)}</div>'


def token_strip(
    tokens: Sequence[str],
    shares: Float[Tensor, "time bank"],
    salience: Float[Tensor, "time"] | None = None,
    *,
    marks: Sequence[bool | None] = (),
) -> str:
    """Show a text token by token: below each a bar that the banks divide as they divide the token.

    Args:
        tokens: in words; those behind the last share were not read, and are pale.
        shares: of the tokens that were read; each row sums to one.
        salience: what each weighs in the write, in [0, 1], as the length of a second bar; None has none.
        marks: for each token whether it is right or wrong, or None for neither.
    """
    chips = []
    for place, token in enumerate(tokens):
        text = escape((token or "∅").translate(_SHOWN))
        mark = marks[place] if place < len(marks) else None
        kind = {None: "", True: " cl-right", False: " cl-wrong"}[mark]
        if place >= len(shares):
            chips.append(f'<span class="cl-token cl-unread" title="not read">{text}</span>')
            continue
        of_token = shares[place].tolist()
        hint = ", ".join(
            f"{name} {percent(share)}" for name, share in zip(names_of(len(of_token)), of_token, strict=True)
        )
        bars = f'<i class="cl-bar" style="background:{_divided(of_token)}"></i>'
        if salience is not None:
            weighs = salience[place].item()
            hint += f"; weighs {weighs:.2f}"
            bars += f'<i class="cl-weighs"><i style="width:{100 * weighs:.0f}%"></i></i>'
        look = f"background:{_tint(of_token)}"
        chips.append(f'<span class="cl-token{kind}" style="{look}" title="{escape(hint)}">{text}{bars}</span>')
    return f'<div class="cl-tokens">{"".join(chips)}</div>'


def share_bar(label: str, shares: Float[Tensor, "bank"]) -> str:
    """Show how the banks divide some tokens on average, in a bar and in words."""
    values = shares.tolist()
    words = " · ".join(f"{name} {percent(share)}" for name, share in zip(names_of(len(values)), values, strict=True))
    bar = f'<div class="cl-division" style="background:{_divided(values)}"></div>'
    return f'<div class="cl-share"><span>{escape(label)}</span>{bar}<span>{escape(words)}</span></div>'


def bank_panel(
    norms: Float[Tensor, "bank slot"],
    *,
    bound: float | None = None,
    moved: Sequence[float] = (),
    lesioned: Sequence[str] = (),
) -> str:
    """Show how full every slot of every bank is: a cell each, the darker the larger its norm.

    Args:
        norms: of what every slot was written; 0 is blank.
        bound: what no norm exceeds; None compares with the largest. A slot is in use from 1 % of it on.
        moved: how far each bank moved in the last turn, as a share of its norm; empty says nothing of it.
        lesioned: names of the banks that are not read.
    """
    largest = norms.max().item() if norms.numel() else 0.0
    whole = largest if bound is None else bound
    panels = []
    for bank, (name, of_bank) in enumerate(zip(names_of(len(norms)), norms.tolist(), strict=True)):
        used = sum(norm > USED_SHARE * whole for norm in of_bank)
        said = [f"{used} of {len(of_bank)} slots in use"]
        if moved:
            said.append(f"moved by {percent(moved[bank], 1)}")
        if name in lesioned:
            said.append("<b>lesioned: not read</b>")
        cells = "".join(
            f'<i title="slot {slot}: norm {norm:.3g}" style="background:{_faded(colour_of(bank), norm, largest)}"></i>'
            for slot, norm in enumerate(of_bank)
        )
        off = " cl-off" if name in lesioned else ""
        head = f'<div class="cl-head"><b>{escape(name)}</b> <span>{" · ".join(said)}</span></div>'
        panels.append(f'<div class="cl-bank{off}">{head}<div class="cl-slots">{cells}</div></div>')
    return "".join(panels)


def coupling_table(coupling: Float[Tensor, "bank bank"]) -> str:
    """Show the cross-talk matrix W_s: what a row's bank gets from the activity of a column's."""
    names = names_of(len(coupling))
    largest = coupling.abs().max().item()
    head = "".join(f"<th>from {escape(name)}</th>" for name in names)
    rows = []
    for name, row in zip(names, coupling.tolist(), strict=True):
        cells = "".join(
            f'<td style="background:{_faded(BLUE if value >= 0 else RED, abs(value), largest, most=0.5)}">'
            f"{_signed(value)}</td>"
            for value in row
        )
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return f'<table class="cl-coupling"><tr><th></th>{head}</tr>{"".join(rows)}</table>'


def answer_table(letters: Sequence[str], images: Sequence[str], answers: Sequence[str]) -> str:
    """Show a cipher and what was answered: a column a letter, right or wrong in a colour and a sign."""
    columns = []
    for letter, image, answer in zip(letters, images, answers, strict=True):
        right = image == answer
        look, sign = ("cl-right", "✓") if right else ("cl-wrong", "✗")
        hint = f"{letter} is {image}; the model says {answer}"
        columns.append(
            f'<span class="cl-answer {look}" title="{escape(hint)}"><b>{escape(letter)}</b><span>{escape(image)}</span>'
            f"<em>{escape(answer)} {sign}</em></span>"
        )
    lead = '<span class="cl-answer cl-lead"><b>letter</b><span>stands for</span><em>answered</em></span>'
    return f'<div class="cl-answers">{lead}{"".join(columns)}</div>'


def recall_curve(
    distractors: Sequence[int], recall: Sequence[float], *, chance: float, here: tuple[int, float], num_ciphers: int
) -> str:
    """Draw recall against the number of segments between telling and asking, and where we are on it.

    Args:
        distractors: increasing numbers of segments.
        recall: in [0, 1], a mean over ciphers, for each of them.
        chance: what guessing gets.
        here: number of segments and recall of the cipher that is shown.
        num_ciphers: that the mean is over.
    """
    most = max(*distractors, here[0], 1)

    def across(number: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log1p(number) / math.log1p(most)

    def up(share: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    left, right, floor = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<line class="cl-grid" x1="{left}" x2="{right}" y1="{up(share):.1f}" y2="{up(share):.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{up(share) + 5:.1f}" text-anchor="end">{percent(share)}</text>')
    parts += [f'<text x="{across(n):.1f}" y="{floor + 18}" text-anchor="middle">{n}</text>' for n in distractors]
    middle = (left + right) / 2
    label = "segments between telling and asking"
    parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{label}</text>')
    parts.append(f'<line class="cl-chance" x1="{left}" x2="{right}" y1="{up(chance):.1f}" y2="{up(chance):.1f}"/>')
    parts.append(f'<text x="{left + 4}" y="{up(chance) - 5:.1f}">guessing</text>')
    points = " ".join(f"{across(n):.1f},{up(r):.1f}" for n, r in zip(distractors, recall, strict=True))
    parts.append(f'<polyline class="cl-curve" points="{points}"/>')
    parts.append(f'<circle class="cl-here" cx="{across(here[0]):.1f}" cy="{up(here[1]):.1f}" r="7"/>')
    words = f"mean recall of {num_ciphers} other ciphers; the dot is this one: {percent(here[1])} after {here[0]}"
    drawn = f'<svg class="cl-plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{words}">{"".join(parts)}'
    return f'{drawn}</svg><div class="cl-note">Line: {words}.</div>'


def panel(title: str, body: str, note: str = "") -> str:
    """Put a title above a part of the page and a note below; the note may hold HTML."""
    below = f'<div class="cl-note">{note}</div>' if note else ""
    return f'<section class="cl-panel"><h3>{escape(title)}</h3>{body}{below}</section>'


def columns(*parts: Sequence[str]) -> str:
    """Put panels into columns, one below the other where there is little room."""
    inner = "".join(f"<div>{''.join(part)}</div>" for part in parts)
    return f'<div class="cl-columns">{inner}</div>'


def percent(share: float, digits: int = 0) -> str:
    """Write a share.

    >>> percent(0.125, 1)
    '12.5 %'
    """
    return f"{100 * share:.{digits}f} %"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _divided(shares: Sequence[float]) -> str:
    """Return a background that the banks divide, with sharp edges."""
    stops, start = [], 0.0
    for bank, share in enumerate(shares):
        stop = start + 100.0 * share
        stops.append(f"{colour_of(bank)} {start:.1f}% {stop:.1f}%")
        start = stop
    return f"linear-gradient(90deg,{','.join(stops)})"


def _tint(shares: Sequence[float]) -> str:
    """Return the colour of the bank that took the token, the paler the more evenly it was divided."""
    even = 1.0 / len(shares)
    winner = max(range(len(shares)), key=lambda bank: shares[bank])
    decided = (shares[winner] - even) / (1.0 - even) if even < 1.0 else 1.0
    return _faded(colour_of(winner), decided, 1.0, most=0.35)


def _faded(colour: str, value: float, largest: float, most: float = 1.0) -> str:
    """Return a colour with a strength from 0 to ``most``, by the square root: small values are seen too."""
    share = math.sqrt(min(max(value / largest, 0.0), 1.0)) if largest > 0.0 else 0.0
    return f"{colour}{round(255 * most * share):02x}"
