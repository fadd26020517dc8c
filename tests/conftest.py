"""Settings of the whole suite: shapes are checked, properties are tried on the same cases."""

import os

import torch
from hypothesis import settings
from jaxtyping import install_import_hook
from tests import shapes

# Workers of pytest-xdist have one of 80, which consoles made on import would keep.
os.environ.pop("COLUMNS", None)

# Before any module of the library is imported: the hook rewrites modules as they load. Shapes are
# annotated in the source and checked here, so that users and torch.compile do not pay for it.
install_import_hook("callosal", f"{shapes.__name__}.check")

# The tensors are tiny, so more threads only wait for each other, and for whatever else is running.
torch.set_num_threads(1)

# The same examples every time, or a red run could not be run again; no deadline, because the
# machine is shared and slow is not wrong.
settings.register_profile("laws", derandomize=True, deadline=None, max_examples=25, print_blob=False, database=None)
settings.load_profile("laws")
