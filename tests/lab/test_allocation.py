"""What a process of the lab has freed it uses again."""

import sys

import pytest
from tests.apart import python

# The second tensor fits where the first was.
CODE = """
import resource
import torch
from callosal.lab.allocation import keep_freed_memory

if not keep_freed_memory():
    print("no glibc")
    raise SystemExit
torch.ones(40 * 2**18)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(20 * 2**18)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what is told is told to glibc")
def test_what_was_freed_is_used_again() -> None:
    done = python("-c", CODE)
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() == "no glibc":
        pytest.skip("the C library is no glibc, so this was not tested")
    # In fresh pages it would be one fault for every 4,096 of its bytes.
    assert int(done.stdout) < 20 * 2**20 // 4096 // 4
