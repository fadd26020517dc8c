"""The door: its names, what they cost, what works without any extra, and what says which it needs."""

import ast
import importlib
from pathlib import Path

import pytest
from tests.apart import python
from torch import nn

import callosal
from callosal.hosts import attach

PACKAGE = Path(callosal.__file__).parent


def test_the_door_shows_the_public_names_and_nothing_else() -> None:
    names = [name for name in dir(callosal) if not name.startswith("_")]
    assert set(names) == set(callosal.__all__)
    assert "__version__" in dir(callosal)
    for name in names:
        thing = getattr(callosal, name)
        assert thing.__doc__
        assert thing.__module__.startswith("callosal.")
        assert not thing.__module__.startswith("callosal.lab")
    # What editors and type checkers read is what the table holds.
    (block,) = (node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imports for alias in node.names}
    assert seen == callosal._HOMES
    assert (PACKAGE / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'Colour'"):
        callosal.Colour  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_names_that_moved_work_once_more_and_say_where_they_went() -> None:
    assert not set(callosal._MOVED) & set(dir(callosal))
    for name, home in callosal._MOVED.items():
        module, _, new = home.rpartition(".")
        with pytest.warns(DeprecationWarning, match=rf"callosal\.{name} is now {home}"):
            old = getattr(callosal, name)
        assert old is getattr(importlib.import_module(module), new)
    with pytest.warns(DeprecationWarning, match="record_shares"):
        exec("from callosal import record_shares", {})  # noqa: S102


def test_the_old_names_of_unload_and_stop_gradient() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    memories = callosal.attach(model, "0", callosal.MemoryConfig(width=4))
    with memories.session() as session, pytest.warns(DeprecationWarning, match="stop_gradient"):
        session.detach()
    with pytest.warns(DeprecationWarning, match=r"detach\(model\) is now unload\(model\)"):
        assert attach.detach(model) is model
    assert not hasattr(model, "callosal")


# In a process of its own: this one has torch, and every extra, already.
CORE = """
import sys
EXTRAS = {"scipy", "matplotlib", "rich", "pandas", "jinja2", "PIL", "typer", "transformers", "accelerate",
          "huggingface_hub", "tokenizers", "gradio"}

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
before = set(sys.modules)
import callosal
assert {"torch", "numpy"}.isdisjoint(sys.modules), "import callosal imports torch"
assert {name for name in set(sys.modules) - before if name.startswith("callosal")} == {"callosal"}

import tempfile, warnings
import torch
from torch import nn
warnings.simplefilter("error")
torch.manual_seed(0)
config = callosal.MemoryConfig(width=8, num_slots=4)
memory = callosal.LateralMemory(config).eval()
x = torch.randn(1, 5, 8)
y, state = memory(x, memory.blank(1))
callosal.merge(state, state)
model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval()
with tempfile.TemporaryDirectory() as folder:
    callosal.save_memory(state, folder + "/one", memory)
    assert torch.equal(callosal.load_memory(folder + "/one", memory).trace, state.trace)
    store = callosal.MemoryStore(folder + "/users")
    store.save("ada", state, memory)
    assert store.users() == ["ada"]
    memories = callosal.attach(model, ["0"], config)
    nn.init.normal_(memories["0"].output.weight)
    with memories.session("bob", store):
        first, second = model(x), model(x)
    assert not torch.equal(first, second)
    memories.save_pretrained(folder + "/adapter")
    callosal.unload(model)
    memories = callosal.attach_pretrained(model, folder + "/adapter")
    with memories.session("bob", callosal.MemoryStore(folder + "/others")):
        assert torch.equal(model(x), first)
callosal.check_memory(memory, width=8).raise_if_broken()

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("default")
    model(x), model(x), callosal.detach(model)
assert [str(w.message).split()[0] for w in said] == ["Sequential", "callosal.detach"], said
assert {w.filename for w in said} == {"<string>"}, said  # the lines that did it, none of ours

for use in (
    lambda: callosal.train_stateful,
    lambda: callosal.StatefulConfig,
    lambda: memories.push_to_hub("user/name"),
    lambda: callosal.attach_pretrained(model, "user/name"),
):
    try:
        use()
    except ImportError as error:
        assert 'pip install "callosal[hf]"' in str(error), error
    else:
        raise AssertionError(use)
callosal.collate_conversations, callosal.Conversations
assert EXTRAS.isdisjoint(sys.modules)
"""


def test_the_core_works_with_its_core_dependencies_alone() -> None:
    done = python("-c", CORE)
    assert done.returncode == 0, done.stderr
