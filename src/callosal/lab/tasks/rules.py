"""Rules: segments that continue by a rule of their own, so that no memory is needed."""

from typing import Literal, get_args

import torch
from einops import rearrange
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from callosal.lab.tasks import arithmetic

Rule = Literal["arithmetic", "counting", "multiplication", "reversal", "copying", "parity"]
RULES: tuple[Rule, ...] = get_args(Rule)
# Rules over numbers mod P; the others are over letters, or bits.
NUMERIC: tuple[Rule, ...] = ("arithmetic", "counting", "multiplication")


def alphabet_size(rule: Rule, num_letters: int, modulus: int) -> int:
    """Return how many tokens a rule's segments are made of."""
    if rule == "parity":
        return 2
    return modulus if rule in NUMERIC else num_letters


def sample_rule(
    rule: Rule, shape: tuple[int, int], num_tokens: int, alphabet: int, generator: Generator
) -> tuple[Int[Tensor, "batch segment time"], Bool[Tensor, "time"]]:
    r"""Draw segments of a rule, and mark the tokens after which the rule predicts the next.

    - arithmetic: a, a + d, a + 2 d, ... mod P with fresh a and d >= 1 (reported in arXiv 2603.03355).
    - counting: a, a + 1, a + 2, ... mod P (arXiv 2603.07217 has it mod 10).
    - multiplication: a, a d, a d^2, ... mod P with a >= 1 and d >= 2; ours.
    - reversal, copying: fresh letters, and the same backwards or once more; ours.
    - parity: a bit and the parity of all bits so far, in turn; ours.

    Args:
        rule: which.
        shape: (batch, segment).
        num_tokens: in a segment, even.
        alphabet: P, or the number of letters; tokens are 0 to alphabet - 1.
        generator: draws them.

    Returns:
        The tokens, and per token whether the next one follows from those so far.
    """
    half = num_tokens // 2
    places = torch.arange(num_tokens)
    if rule in NUMERIC:
        # The last token's successor would stand outside the segment.
        least = 0 if rule == "counting" else 1
        predicts = (places >= least) & (places < num_tokens - 1)
        return _numbers(rule, shape, num_tokens, alphabet, generator), predicts
    if rule == "parity":
        bits = torch.randint(0, 2, (*shape, half), generator=generator)
        sums = bits.cumsum(-1) % 2
        tokens = rearrange([bits, sums], "side batch seg pair -> batch seg (pair side)")
        return tokens, places % 2 == 0
    letters = torch.randint(0, alphabet, (*shape, half), generator=generator)
    again = letters.flip(-1) if rule == "reversal" else letters
    predicts = (places >= half - 1) & (places < num_tokens - 1)
    return torch.cat([letters, again], dim=-1), predicts


def _numbers(
    rule: Rule, shape: tuple[int, int], num_tokens: int, modulus: int, generator: Generator
) -> Int[Tensor, "batch segment time"]:
    if rule == "arithmetic":
        return arithmetic.sample_progressions(shape, num_tokens, modulus, generator)
    places = torch.arange(num_tokens)
    if rule == "counting":
        starts = torch.randint(0, modulus, shape, generator=generator)
        return (starts[..., None] + places) % modulus
    terms = [torch.randint(1, modulus, shape, generator=generator)]
    factors = torch.randint(2, modulus, shape, generator=generator)
    for _ in range(num_tokens - 1):
        terms.append(terms[-1] * factors % modulus)
    return torch.stack(terms, dim=-1)
