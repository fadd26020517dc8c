"""The memory beside its peers, of equal width and of equal state: forward, training, token by token, peak memory.

`python -m benchmarks.speed.peers` times all in turn in one process, forward and training, and with them our layer's
multiplications alone, which say how many times its time a peer could take at most; streams each token by token; and
starts a process for each to see how much memory its training takes. nn.LSTM has no row of equal state: with as many
floats it would have a map of that number squared. The last line of standard output is JSON.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from benchmarks.speed.contenders import CONTENDERS, SEGMENT, Contender, Ours
from benchmarks.speed.floor import alone, sides_of
from benchmarks.speed.timing import Rows, apart, backward, in_turn, parser, peak_mib, rate, ratio, spread, told
from rich.progress import track
from torch import Tensor

# (width, slots a bank, rows, tokens a row): titans-pytorch takes seconds a call at the last.
SHAPES = [(64, 64, 4, 512), (256, 64, 2, 512), (256, 256, 2, 512), (512, 128, 1, 512)]
QUICK = [(16, 8, 2, 128)]
SECONDS, STREAMED, LEAST = 12.0, 192, 5


def built(name: str, width: int, slots: int) -> Contender:
    """Return a contender with random weights."""
    torch.manual_seed(0)
    return CONTENDERS[name][1](width, slots)


def trained(peer: Contender, hidden: Tensor) -> Callable[[], object]:
    """Return a forward and a backward pass to the input and all that learns."""
    asked = hidden.clone().requires_grad_()
    leaves = [asked, *(p for p in peer.parameters() if p.requires_grad)]
    return lambda: backward(peer.train()(asked), leaves)


@torch.no_grad()
def streamed(peer: Contender, width: int, num_tokens: int) -> list[float]:
    """Return the seconds of every token of a stream, the first segment left out to warm up."""
    state, found = None, []
    peer.eval()
    for token in torch.randn(num_tokens, 1, 1, width):
        begun = time.perf_counter()
        _, state = peer.step(token, state)
        found.append(time.perf_counter() - begun)
    return found[SEGMENT:]


def shape(width: int, slots: int, rows: int, num_tokens: int, quick: bool) -> Rows:
    """Measure all contenders at one shape."""
    peers = {name: built(name, width, slots) for name in CONTENDERS}
    hidden = torch.randn(rows, num_tokens, width)
    sides: dict[str, Callable[[], object]] = {}
    for name, peer in peers.items():
        sides[f"{name}: forward"] = torch.no_grad()(lambda peer=peer: peer.eval()(hidden))
        sides[f"{name}: training"] = trained(peer, hidden)
    ours = peers["callosal"]
    assert isinstance(ours, Ours)
    with torch.no_grad():
        floor = alone(ours.memory, hidden.unflatten(1, (-1, SEGMENT)))
    sides |= sides_of("floor", floor)
    samples = in_turn(sides, seconds=0.2 if quick else SECONDS, least=2 if quick else LEAST)
    found = []
    for name, peer in peers.items():
        row: dict[str, Any] = {"width": width, "slots": slots, "rows": rows, "tokens": num_tokens, "name": name}
        row["equal_state"], row["state_floats"] = CONTENDERS[name][0], peer.state_floats(num_tokens)
        for passes in ("forward", "training"):
            taken = samples[f"{name}: {passes}"]
            row[passes] = rate(taken, rows * num_tokens)
            row[f"{passes}_ratio"] = ratio(taken, samples[f"callosal: {passes}"])
            row[f"{passes}_over_floor"] = ratio(taken, samples[f"floor {passes}"])
        # The mean, not the median: the tokens that write are few and take longest.
        seconds = streamed(peer, width, SEGMENT + 2 if quick else SEGMENT + STREAMED)
        row["streaming"] = len(seconds) / sum(seconds)
        row["streaming_seconds"] = spread(seconds)
        found.append(row)
    return found


def weighed(name: str, width: int, slots: int, rows: int, num_tokens: int) -> dict[str, Any]:
    """Return how far a forward pass and a training step raise this process's peak."""
    peer, hidden = built(name, width, slots), torch.randn(rows, num_tokens, width)
    start = peak_mib(anew=True)
    with torch.no_grad():
        peer(hidden)
    forward = peak_mib()
    trained(peer, hidden)()
    return {"forward_mib": forward - start, "training_mib": peak_mib() - start}


def measure(quick: bool) -> dict[str, Any]:
    """Measure every shape, then the memory of each contender in a process of its own."""
    rows: Rows = []
    for sizes in track(QUICK if quick else SHAPES, description="peers"):
        rows += shape(*sizes, quick)
    for row in track(rows[:1] if quick else rows, description="peak memory"):
        sizes = [str(row[key]) for key in ("width", "slots", "rows", "tokens")]
        found = apart("benchmarks.speed.peers", "--weigh", row["name"], *sizes)
        row |= {key: found[key] for key in ("forward_mib", "training_mib")}
    return {"rows": rows}


def main() -> None:
    """Measure all, or weigh one."""
    parsing = parser(__doc__)
    parsing.add_argument("--weigh", nargs=5, metavar=("NAME", "WIDTH", "SLOTS", "ROWS", "TOKENS"))
    parsed = parsing.parse_args()
    if parsed.weigh:
        torch.set_num_threads(1)
        name, *sizes = parsed.weigh
        found = weighed(name, *map(int, sizes))
        told("weigh", lambda _: found, parsed.quick)
    else:
        told("peers", measure, parsed.quick)


if __name__ == "__main__":
    main()
