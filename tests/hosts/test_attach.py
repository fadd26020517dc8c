"""Memories attached to models: nothing changes at first, nothing stays behind, files and errors."""

import copy
import gc
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.hosts.hosts import ALL, CONFIG, make, prompts, remembering, trained
from tests.laws import assert_near
from tests.tolerances import HALF, SINGLE
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.models.bart import BartConfig, BartForConditionalGeneration

from callosal import MemoryConfig, MemoryStore, attach, unload
from callosal.hosts.hooks import OutsideSessionWarning


def blocks(number: int = 3, width: int = 8) -> Any:
    """A plain module whose layers return a tuple."""

    class Block(nn.Linear):
        def forward(self, input: Tensor) -> Any:  # noqa: A002
            return input + super().forward(input).tanh(), "weights"

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block(width, width) for _ in range(number)])

        def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:  # noqa: ARG002
            for block in self.blocks:
                hidden, said = block(hidden)
                assert said == "weights"
            return hidden

    torch.manual_seed(0)
    return Plain().eval()


@ALL
def test_attached_the_logits_are_the_same_bit_for_bit(name: str) -> None:
    model, tokens = make(name), prompts()
    mask = torch.ones_like(tokens)
    mask[0, :3] = 0
    before, masked = model(tokens).logits, model(tokens, attention_mask=mask).logits
    memories = attach(model, layers=[0, -1], config=CONFIG, warn_outside_session=False)
    assert torch.equal(model(tokens).logits, before)
    with memories.session(["ada", "bob", "cy"]):
        for _ in range(2):
            assert torch.equal(model(tokens).logits, before)
            assert torch.equal(model(tokens, attention_mask=mask).logits, masked)


@ALL
def test_unloaded_the_model_is_what_it_was(name: str, tmp_path: Path) -> None:
    model, tokens = make(name), prompts()
    before, weights = model(tokens).logits, copy.deepcopy(model.state_dict())
    attributes = set(vars(model))
    memories = trained(attach(model, layers=[0, 1], config=CONFIG))
    with memories.session():
        assert not torch.equal(model(tokens).logits, before)
        model.generate(tokens, max_new_tokens=2)
    gone = weakref.ref(memories)
    assert unload(model) is model
    after = model.state_dict()
    assert list(after) == list(weights)
    if name == "llama":
        model.save_pretrained(tmp_path)
        assert not any("callosal" in key for key in load_file(tmp_path / "model.safetensors"))
    assert all(torch.equal(after[key], weights[key]) for key in weights)
    assert torch.equal(model(tokens).logits, before)
    assert set(vars(model)) == attributes
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs")
    assert not any(getattr(m, kind) for m in model.modules() for kind in hooks)
    del memories
    gc.collect()
    assert gone() is None


def test_outside_a_session_the_model_is_the_base_model() -> None:
    model, tokens = make(), prompts()
    before = model(tokens).logits
    memories = trained(attach(model, layers=-1))
    with pytest.warns(OutsideSessionWarning, match=r"LlamaForCausalLM .*with memories\.session"):
        assert torch.equal(model(tokens).logits, before)
    assert torch.equal(model(tokens).logits, before)  # it is said once
    memories.warn_outside_session = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideSessionWarning)
        model(tokens)
    assert not memories.warn_outside_session


def test_a_plain_module_remembers_too() -> None:
    model, x = blocks(), torch.randn(2, 5, 8)
    before = model(x)
    memories = attach(model, layers=[1], config=MemoryConfig(width=8, num_slots=4))
    with memories.session():
        assert torch.equal(model(x), before)
    trained(memories)
    with memories.session():
        first, second = model(x), model(x)
        assert not torch.allclose(first, second)
    with memories.session() as session:
        with session.one_turn():
            pieces = [model(piece) for piece in x.split(1, 1)]
        assert_near(torch.cat(pieces, 1), first, SINGLE)
        assert_near(model(x), second, SINGLE)
        inside = pytest.raises(RuntimeError, match="inside one_turn")
        with session.one_turn(), inside, session.one_turn():
            pass


def test_the_memories_learn_while_the_base_is_frozen() -> None:
    """In one long session, whose gradient is stopped after each step."""
    model, tokens = make(), prompts()
    model.requires_grad_(False)
    memories = attach(model, layers=[0, 1], config=CONFIG)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    assert memories["model.layers.0"].training
    losses = []
    with memories.session() as session:
        for _ in range(4):
            loss = torch.stack([model(tokens, labels=tokens).loss for _ in range(3)]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            session.stop_gradient()
            assert all(not s.trace.requires_grad for s in session.states.values())
    assert losses[-1] < losses[0]
    assert all(p.grad is None for n, p in model.named_parameters() if "callosal" not in n)
    assert all(p.grad is not None for p in memories.parameters())


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_gradient_checkpointing_reads_every_token_once(name: str, reentrant: bool) -> None:
    tokens, answers = prompts(), []
    for checkpointing in (False, True):
        model, memories = remembering(name)
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": reentrant})
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        calls: list[int] = []
        for place in memories:
            memories[place].register_forward_hook(lambda *_, seen=calls: seen.append(1))
        # The reentrant kind asks for inputs that want a gradient.
        model.get_input_embeddings().register_forward_hook(lambda *args: args[2].requires_grad_())
        with memories.session() as session:
            loss = torch.stack([model(tokens, labels=tokens, use_cache=False).loss for _ in "ab"]).sum()
            loss.backward()
            session.turn()
            assert len(calls) == 4
            traces = [state.trace for state in session.states.values()]
        answers.append((loss, *traces, *[p.grad for p in memories.parameters()]))
    for plain, recomputed in zip(*answers, strict=True):
        assert_near(recomputed, plain, SINGLE)


def test_a_checkpoint_around_the_hook_is_refused_rather_than_wrong() -> None:
    model = blocks()
    memories = trained(attach(model, layers=[1], config=MemoryConfig(width=8, num_slots=4)))
    inner = model.blocks[1]

    class Checkpointed(nn.Module):
        def forward(self, hidden: Tensor) -> Any:
            return checkpoint(inner, hidden, use_reentrant=False)

    model.blocks[1] = Checkpointed()
    with memories.session(), pytest.raises(RuntimeError, match="checkpoint recomputes the layer"):
        model(torch.randn(2, 5, 8, requires_grad=True)).sum().backward()


def test_a_bfloat16_model_keeps_a_float32_memory() -> None:
    model, tokens = make().to(torch.bfloat16), prompts()
    before = model(tokens).logits
    memories = attach(model, layers=[0, -1], config=CONFIG)
    with memories.session() as session:
        after = model(tokens).logits
        assert after.dtype == torch.bfloat16
        assert torch.equal(after, before)
        trained(memories)
        model(tokens)
        reply = model.generate(tokens, max_new_tokens=3)
        assert reply.shape == (3, 10)
        session.turn()
        for state in session.states.values():
            assert state.trace.dtype == torch.float32
            assert state.trace.isfinite().all()


@pytest.mark.parametrize("host", [torch.float32, torch.bfloat16], ids=str)
def test_a_memory_may_multiply_in_half_precision_and_keeps_and_saves_single(host: torch.dtype, tmp_path: Path) -> None:
    model, memories = remembering()
    model.to(host)
    for name in memories:
        memories[name].compute_dtype = torch.bfloat16
    tokens, store, traces = prompts(1), MemoryStore(tmp_path), []
    with torch.no_grad():
        with memories.session("ada", store) as session:
            reply = model.generate(tokens, max_new_tokens=4, do_sample=False)
            session.turn()
            traces.append({name: state.trace for name, state in session.states.items()})
        # The same text in one call; the last token of a reply is never fed to the model.
        with memories.session("bob", store) as session:
            model(reply[:, :-1])
            session.turn()
            traces.append({name: state.trace for name, state in session.states.items()})
    for name, trace in traces[0].items():
        assert trace.dtype == torch.float32
        assert_near(traces[1][name], trace, HALF)
    saved = store.load_layers("ada", dict(memories.items()))
    assert all(torch.equal(state.trace, traces[0][name]) for name, state in saved.items())
    assert all(state.trace.dtype == torch.float32 for state in saved.values())


def test_a_copy_of_the_model_has_memories_of_its_own() -> None:
    model, memories = remembering(warn_outside_session=False)
    twin, tokens = copy.deepcopy(model), prompts()
    expected = model(tokens).logits
    with memories.session():
        assert torch.equal(twin(tokens).logits, expected)
        with twin.callosal.session():
            assert torch.equal(twin(tokens).logits, model(tokens).logits)
    unload(twin)
    with memories.session():
        assert not torch.equal(model(tokens).logits, expected)


def test_layers_are_numbers_or_names_and_mistakes_are_named() -> None:
    two = nn.Module()
    two.left, two.right = (nn.ModuleList([nn.Linear(8, 8)]) for _ in range(2))
    model, plain = make(), blocks()
    compiled: Any = torch.compile(make(), backend="eager")
    for wrong, layers, config, message in (
        (model, [], None, "name at least one"),
        (model, [2], None, "from -2 to 1"),
        (model, [0, -2], None, "each layer once"),
        (model, ["model.layers.9"], None, "no module named 'model.layers.9'"),
        (model, [0], MemoryConfig(width=16), "are 32 wide"),
        (plain, [0], None, r"pass config=MemoryConfig\(width"),
        (plain.blocks[0], [0], None, "name them instead"),
        (two, [0], None, "several lists of layers"),
        (compiled, [0], None, "attach first, then compile"),
    ):
        with pytest.raises(ValueError, match=message):
            attach(wrong, layers, config)
    memories = attach(model, layers=["model.layers.0", -1])
    assert list(memories) == ["model.layers.0", "model.layers.1"]
    assert len(memories) == 2
    assert memories["model.layers.1"].config == MemoryConfig(width=32, learn_crosstalk=False)
    with pytest.raises(KeyError, match=r"no memory behind 'model\.norm'"):
        memories["model.norm"]
    with pytest.raises(ValueError, match=r"has memories attached .*callosal\.unload"):
        attach(model, layers=[1])
    with memories.session(), pytest.raises(RuntimeError, match=r"unload\(\) .*inside a session"):
        unload(model)
    unload(model)
    with pytest.raises(ValueError, match="no memories attached"):
        unload(model)
    memories = attach(plain, layers=[0], config=MemoryConfig(width=4))
    with memories.session(), pytest.raises(ValueError, match=r"\[batch, time, 4\]"):
        plain(torch.randn(1, 2, 8))


def test_layers_that_read_something_else_than_the_text_are_refused() -> None:
    bart: Any = {"vocab_size": 40, "d_model": 32, "encoder_layers": 1, "decoder_layers": 2}
    bart |= {
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 8,
        "decoder_ffn_dim": 8,
        "max_position_embeddings": 16,
    }
    model: Any = BartForConditionalGeneration(BartConfig(**bart))
    assert list(attach(model, [-1], CONFIG)) == ["model.decoder.layers.1"]
    unload(model)
    with pytest.raises(ValueError, match=r"'model\.encoder\.layers\.0' .*not of the part that reads the text"):
        attach(model, ["model.encoder.layers.0"], CONFIG)
