"""Associative recall: an arbitrary function of keys, values drawn with replacement."""

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from callosal.lab.tasks.cipher import Split


def sample_functions(
    num_functions: int, num_keys: int, num_values: int, generator: Generator, split: Split
) -> Int[Tensor, "function key"]:
    """Draw a value for every key, uniformly from the split's half of all functions.

    As in multi-query associative recall (arXiv 2312.04927), of which arXiv 2603.07217 reports; here the pairs stand in
    one segment and the questions in another. Training draws functions whose values add up to an even number and
    evaluation the odd ones, so the two never meet. Ours.

    Raises:
        ValueError: ``num_values`` is odd, so the halves would not be alike.
    """
    if num_values % 2:
        raise ValueError(f"recall over {num_values} values; an even number is needed, so that the splits are alike")
    values = torch.randint(0, num_values, (num_functions, num_keys), generator=generator)
    wrong = (values.sum(-1) % 2 == 1) != (split == "evaluation")
    # Its neighbour in the pair (0, 1), (2, 3), ...: changes the sum's parity and stays uniform.
    values[wrong, 0] = values[wrong, 0] ^ 1
    return values
