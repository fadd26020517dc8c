"""The layer compiles to one graph in evaluation mode, masked or in pieces."""

import subprocess
import sys

CODE = """
import torch
from callosal import LateralMemory, MemoryConfig

memory = LateralMemory(MemoryConfig(width=8, num_slots=4)).eval().requires_grad_(False)
compiled = torch.compile(memory, fullgraph=True, backend="eager")
x, mask = torch.randn(2, 2, 5, 8), torch.rand(2, 2, 5) > 0.3
# Each way through the layer once: many segments or one, masked or not, committed or open.
for given, how in (((x, memory.blank(2), mask), {}), ((x[:, 0],), {"commit": False})):
    (y, state), (expected, after) = compiled(*given, **how), memory(*given, **how)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(memory.commit(state).trace, memory.commit(after).trace)
"""


def test_evaluation_is_one_graph() -> None:
    # A process of its own: functions decorated by this suite's shape checker do not compile. The
    # eager backend traces as the others do and needs no compiler on the machine.
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
