"""What `test_elsewhere.py` has done in a process of its own: a memory taken up, a model compiled."""

import copy
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.hosts.hosts import CONFIG, MODELS, DictStore, make, prompts, trained
from torch import Tensor

from callosal import LateralMemory, MemoryConfig, MemoryState, attach, attach_pretrained
from callosal.hosts.hooks import OutsideSessionWarning

same = torch.testing.assert_close


def go_on(folder: Path) -> None:
    """Use the memories that were saved, in all models."""
    for name in MODELS:
        model = make(name)
        store = DictStore()
        for path in (folder / name).glob("ada@*"):
            store.entries[path.stem] = MemoryState(trace=load_file(path)["trace"])
        with attach_pretrained(model, folder / name).session("ada", store):
            torch.save(model(prompts(rows=1)).logits, folder / name / "logits.pt")


def refuse_users() -> None:
    """Refuse users that are no strings; annotations are not checked here, as they are not for users."""
    memories: Any = attach(make(), [0], CONFIG)
    for users in (7, b"ada", ["1", 1], [None]):
        with pytest.raises(TypeError, match=r"str\(id\)"):
            memories.session(users)


def compile_layer() -> None:
    """Compile a memory by itself, each way through it once: one segment or more, masked, or left open."""
    memory = LateralMemory(MemoryConfig(width=8, num_slots=4)).eval().requires_grad_(False)
    compiled: Any = torch.compile(memory, fullgraph=True, backend="eager")
    x, mask = torch.randn(2, 2, 5, 8), torch.rand(2, 2, 5) > 0.3
    for given, how in (((x, memory.blank(2), mask), {}), ((x[:, 0],), {"commit": False})):
        (y, state), (expected, after) = compiled(*given, **how), memory(*given, **how)
        same(y, expected)
        same(memory.commit(state).trace, memory.commit(after).trace)


def compile_training() -> None:
    """Compile training steps to one graph: the loss, all gradients and what moves on the memory are the same."""
    variants: list[dict[str, Any]] = [{}, {"salience": "retrieved", "carry": 0.5}, {"contrast": 10.0, "balance": 0.1}]
    variants += [{"crosstalk": "received", "homeostasis": False}, {"recollection": 0.3}]
    for options in variants:
        torch.compiler.reset()  # or so many variants of one function are more than the compiler recompiles
        config = MemoryConfig(width=8, num_slots=4, observe=True, **options)
        memory = LateralMemory(config).train()
        twin = copy.deepcopy(memory)

        def step(memory: Any, x: Tensor, mask: Tensor | None) -> Tensor:
            y, state = memory(x, mask=mask)
            return y.square().sum() + state.trace.square().sum()

        compiled: Any = torch.compile(step, fullgraph=True, backend="aot_eager")
        x, mask = torch.randn(2, 3, 5, 8), torch.rand(2, 3, 5) > 0.3
        mask[0, 0] = False
        for given in (None, mask, torch.zeros_like(mask)):
            for one, function in ((memory, compiled), (twin, step)):
                one.zero_grad()
                function(one, x, given).backward()
            for (name, part), other in zip(memory.named_parameters(), twin.parameters(), strict=True):
                same(part.grad, other.grad, msg=name)
            for (name, part), other in zip(memory.named_buffers(), twin.buffers(), strict=True):
                same(part, other, msg=name)


def compile_model() -> None:
    """Compile a model with a memory to one graph, in which it does what it does uncompiled."""
    model = make().requires_grad_(False)
    tokens, mask = torch.randint(3, 40, (3, 3, 7)), torch.ones(3, 7, dtype=torch.long)
    mask[0, :2] = 0
    base = model(tokens[0], attention_mask=mask, use_cache=False).logits
    memories = trained(attach(model, [0], CONFIG))
    memories.requires_grad_(False)
    layer = "model.layers.0"
    compiled: Any = torch.compile(model, fullgraph=True, backend="eager")
    with warnings.catch_warnings():
        # Outside a session: the model as it was, and nothing that could break the graph.
        warnings.simplefilter("error", OutsideSessionWarning)
        same(compiled(tokens[0], attention_mask=mask, use_cache=False).logits, base)

    def turns(function: Any) -> list[Tensor]:
        with memories.session() as session:
            calls = [function(t, attention_mask=mask, use_cache=False).logits for t in tokens]
            session.turn()
            return [*calls, session.states[layer].trace]

    for plain, traced in zip(turns(model), turns(compiled), strict=True):
        same(traced, plain)
    # Who is in no session is told apart where a compiled call can tell, and refused where it cannot.
    with memories.session() as session, ThreadPoolExecutor(1) as pool:
        given = {"attention_mask": mask, "use_cache": False}
        error = pool.submit(compiled, tokens[0], **given).exception()
        assert "session.bind(function)" in str(error), error
        plain, expected = compiled(tokens[0], **given).logits, pool.submit(model, tokens[0], **given).result().logits
        same(expected, base)
        session.replace({})
        same(pool.submit(session.bind(compiled), tokens[0], **given).result().logits, plain)
    # Another session, longer or shorter, is another value and no other graph.
    stats = torch._dynamo.utils.counters["stats"]
    graphs = stats["unique_graphs"]
    with memories.session(["ada", "bob", "cy"]):
        for t in [*tokens, *tokens]:
            compiled(t, attention_mask=mask, use_cache=False)
    assert stats["unique_graphs"] - graphs <= 1, stats
    # A search of one's own: compiled calls do not see a cache's rows move, so the session is told.
    rows = torch.arange(tokens.shape[1]).flip(0) // 2
    with memories.session():
        at_once = model(tokens[0, :, :4]).logits[:, -1:]
    with memories.session() as session:
        out: Any = compiled(tokens[0, :, :1])
        for piece in tokens[0, :, 1:4].split([2, 1], 1):
            out = compiled(piece, past_key_values=out.past_key_values)
        same(out.logits, at_once)
        cache = out.past_key_values
        cache.reorder_cache(rows)
        session.select(rows)
        out = compiled(tokens[0, rows, 4:5], past_key_values=cache)
        found: Any = session.states[layer].segment
    with memories.session() as session:
        same(out.logits[:, -1:], model(tokens[0, rows, :5]).logits[:, -1:])
        expected: Any = session.states[layer].segment
        same(found.consolidated, expected.consolidated)


def compile_in_place() -> None:
    """Compile a model in place, so that `generate` calls what is compiled, and where graphs may break."""
    tokens, replies = prompts(), []
    for compiles in (False, True):
        torch.compiler.reset()
        model = make().requires_grad_(False)
        memories = trained(attach(model, [0], CONFIG))
        if compiles:
            model.compile(backend="eager")
        with memories.session() as session:
            for how in ({"eos_token_id": 39}, {"cache_implementation": "static"}, {"num_beams": 2}):
                replies.append(model.generate(tokens, max_new_tokens=4, do_sample=False, **how))
                session.turn()
                replies.append(session.states["model.layers.0"].trace)
    for plain, traced in zip(replies[:6], replies[6:], strict=True):
        same(traced, plain)


def compile_lengths() -> None:
    """Generate by a compiled model: what is compiled for two lengths of prompts, many tokens each, does for all."""
    torch.compiler.reset()
    model = make().requires_grad_(False)
    memories, stats = trained(attach(model, [0], CONFIG)), torch._dynamo.utils.counters["stats"]

    def reply(time: int) -> Tensor:
        prompt = torch.randint(3, 39, (2, time), generator=torch.Generator().manual_seed(time))
        with memories.session():
            return model.generate(prompt, max_new_tokens=5, min_new_tokens=5, do_sample=False, eos_token_id=39)

    expected = [reply(time) for time in (7, 5, 9, 4)]
    model.compile(backend="eager")
    found = [reply(time) for time in (7, 5)]
    graphs = stats["unique_graphs"]
    same(found + [reply(time) for time in (9, 4)], expected)
    assert stats["unique_graphs"] == graphs, stats
    # Where no more may be compiled, a reply goes on uncompiled.
    torch.compiler.reset()
    with torch._dynamo.config.patch(recompile_limit=2):
        same([reply(time) for time in (7, 5)], expected[:2])


def compile_training_in_session() -> None:
    """Train two turns through a model that is compiled to one graph: losses, gradients and buffers stay."""
    answers = []
    for compiles in (False, True):
        torch.compiler.reset()
        model: Any = make().requires_grad_(False).train()
        memories = trained(attach(model, [0], CONFIG))
        called: Any = torch.compile(model, fullgraph=True, backend="eager") if compiles else model
        with memories.session():
            loss = torch.stack([called(prompts(seed=n), use_cache=False).logits.square().mean() for n in (2, 3)]).sum()
        loss.backward()
        memory = memories["model.layers.0"]
        learned = {name: p.grad for name, p in memory.named_parameters() if p.grad is not None}
        answers.append({"loss": loss.detach()} | learned | dict(memory.named_buffers()))
    same(answers[1], answers[0])


def compile_shared() -> None:
    """Compile a model with one memory behind both layers, to one graph and in training."""
    torch.compiler.reset()
    tokens, answers = torch.randint(3, 40, (3, 3, 7)), []
    for compiles in (False, True):
        model: Any = make().requires_grad_(False)
        memories = trained(attach(model, [0, 1], CONFIG, shared=True, written=0))
        memory: Any = memories["model.layers.0"]
        torch.nn.init.normal_(memory.reader(0).output.weight, generator=torch.Generator().manual_seed(3))
        called: Any = torch.compile(model, fullgraph=True, backend="eager") if compiles else model
        with torch.no_grad(), memories.session() as session:
            logits = [called(t, use_cache=False).logits for t in tokens]
            session.turn()
            traces = [state.trace for state in session.states.values()]
        model.train()
        called = torch.compile(model, backend="eager") if compiles else model
        with memories.session():
            torch.stack([called(t, use_cache=False).logits.square().mean() for t in tokens]).sum().backward()
        learned = {name: p.grad for name, p in memory.named_parameters() if p.grad is not None}
        answers.append([logits, traces, learned, dict(memory.named_buffers())])
    same(answers[1], answers[0])


if __name__ == "__main__":
    torch.set_num_threads(1)
    go_on(Path(sys.argv[1]))
    print("memories went on", flush=True)  # noqa: T201
    refuse_users()
    print("users refused", flush=True)  # noqa: T201
    compile_layer()
    print("layer compiled", flush=True)  # noqa: T201
    compile_training()
    print("training compiled", flush=True)  # noqa: T201
    compile_model()
    print("model compiled", flush=True)  # noqa: T201
    compile_in_place()
    print("in-place compiled", flush=True)  # noqa: T201
    compile_lengths()
    print("lengths compiled", flush=True)  # noqa: T201
    compile_training_in_session()
    print("in-session compiled", flush=True)  # noqa: T201
    compile_shared()
    print("shared compiled")  # noqa: T201
