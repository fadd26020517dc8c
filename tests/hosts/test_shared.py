"""A memory behind several layers of a model: by a slow twin, in sessions, in generation, in files, and refused."""

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.hosts.hosts import (
    CONFIG,
    SIZES,
    USERS,
    WIDTH,
    DictStore,
    assert_same_states,
    gpt2,
    llama,
    pad_left,
    prompts,
    same_bits,
    transformers,
)
from tests.laws import assert_near, assert_same_bits_of
from tests.tolerances import SINGLE
from torch import Tensor, nn

from callosal import Memories, MemoryConfig, MemoryStore, attach, attach_pretrained, unload
from callosal.hosts import adapter, hub
from callosal.hosts.layers import decoder_layers
from callosal.memory import LateralMemory, MemoryFileError, SharedMemory, merge
from callosal.memory.ways import Ways
from callosal.ops import reference

BOTH = pytest.mark.parametrize("name", ["gpt2", "llama"])
DEEP: dict[str, Any] = SIZES | {"num_hidden_layers": 3}
LAYERS, WRITTEN = [0, 1, 2], 1
NARROW = MemoryConfig(width=WIDTH, num_slots=6, inner_width=8, observe=True, salience="learned", output_gate=True)


def make(name: str = "llama") -> Any:
    """Return a tiny random model of three layers, the same one each time."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    if name == "gpt2":
        return gpt2.GPT2LMHeadModel(gpt2.GPT2Config(**DEEP)).eval()
    return llama.LlamaForCausalLM(llama.LlamaConfig(**DEEP)).eval()


def ways_of(memories: Memories) -> list[Ways]:
    return [part for _, memory in memories.items() for part in memory.modules() if isinstance(part, Ways)]


def trained(memories: Memories) -> Memories:
    """Give all output maps weights, and whatever else starts alike in all layers noise, as training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for ways in ways_of(memories):
            nn.init.normal_(ways.output.weight, std=0.3, generator=generator)
            if ways.inner_map is not None:
                ways.inner_map.add_(0.1 * torch.randn(ways.inner_map.shape, generator=generator))
    return memories


def remembering(name: str = "llama", config: MemoryConfig = CONFIG, **how: Any) -> tuple[Any, Memories]:
    model = make(name)
    how = {"shared": True, "written": WRITTEN} | how
    return model, trained(attach(model, layers=LAYERS, config=config, **how))


def only(memories: Memories) -> SharedMemory:
    """Return the one memory."""
    ((_, memory),) = memories.items()
    assert isinstance(memory, SharedMemory)
    return memory


def parameters_of(memory: SharedMemory, reader: int | None) -> dict[str, Tensor]:
    found = dict(memory.named_parameters()) | dict(memory.named_buffers())
    if reader is not None:
        own = memory.readers[reader]
        found |= dict(own.named_parameters()) | dict(own.named_buffers())
    return found


@BOTH
@pytest.mark.parametrize("config", [CONFIG, NARROW], ids=["wide", "narrow"])
def test_three_turns_are_those_of_a_twin_written_plainly(name: str, config: MemoryConfig) -> None:
    twin, model = make(name).double(), make(name).double()
    memories = trained(attach(model, layers=LAYERS, config=config, shared=True, written=WRITTEN))
    memory, trace = only(memories), only(memories).blank(3).trace
    names = decoder_layers(twin)
    turns = [prompts(seed=seed) for seed in range(3)]
    with memories.session() as session, torch.no_grad():
        for tokens in turns:
            logits = model(tokens).logits
            session.turn()
            written: dict[str, Tensor] = {}

            def behind(layer: int, output: Any, before: Tensor = trace, written: dict[str, Tensor] = written) -> Any:
                hidden = output if isinstance(output, Tensor) else output[0]
                reader = None if layer == WRITTEN else [0, 2].index(layer)
                everything = torch.ones(hidden.shape[:2], dtype=torch.bool)
                scalars = {k: getattr(config, k) for k in ("gain", "drive", "write", "homeostasis", "context")}
                y, after, *_ = reference.segment(hidden, before, everything, parameters_of(memory, reader), **scalars)
                if reader is None:
                    written["trace"] = after
                added = hidden + y
                return added if isinstance(output, Tensor) else (added, *output[1:])

            handles = [
                twin.get_submodule(layer).register_forward_hook(lambda _, __, out, n=n, b=behind: b(n, out))
                for n, layer in enumerate(names)
            ]
            assert_near(logits, twin(tokens).logits)
            for handle in handles:
                handle.remove()
            trace = written["trace"]
            (state,) = session.states.values()
            assert_near(state.trace, trace)


@BOTH
def test_with_one_layer_it_is_the_memory_of_that_layer_bit_for_bit(name: str, tmp_path: Path) -> None:
    answers = []
    for how in ({}, {"shared": True}, {"shared": True, "written": -1}):
        model = make(name)
        memories = trained(attach(model, layers=[-1], config=CONFIG, **how))
        with memories.session() as session:
            logits = [model(prompts(seed=seed)).logits for seed in range(3)]
            reply = model.generate(prompts(), max_new_tokens=3, do_sample=False)
            answers.append(([*logits, reply], session.states))
        folder = tmp_path / str(len(answers))
        memories.save_pretrained(folder)
        assert type(memories[decoder_layers(model)[-1]]) is LateralMemory
    for given, states in answers[1:]:
        assert all(torch.equal(one, other) for one, other in zip(given, answers[0][0], strict=True))
        assert same_bits(states, answers[0][1])
    for file in (adapter.CONFIG, adapter.WEIGHTS):
        assert len({(tmp_path / str(n) / file).read_bytes() for n in (1, 2, 3)}) == 1


@BOTH
def test_attached_it_is_silent_and_unloaded_the_model_is_what_it_was(name: str) -> None:
    model, tokens = make(name), prompts()
    before = model(tokens).logits
    memories = attach(model, layers=LAYERS, config=CONFIG, shared=True, warn_outside_session=False)
    assert list(memories) == decoder_layers(model)[-1:]  # the last is written
    assert list(memories.places) == decoder_layers(model)
    assert all(memories[layer] is only(memories) for layer in memories.places)
    with memories.session():
        for _ in range(2):
            assert torch.equal(model(tokens).logits, before)
    assert "read behind" in repr(memories)
    trained(memories)
    assert torch.equal(model(tokens).logits, before)
    unload(model)
    assert torch.equal(model(tokens).logits, before)
    assert not any(module._forward_hooks for module in model.modules())


@BOTH
def test_it_is_written_once_from_one_layer_and_the_order_of_layers_does_not_matter(name: str) -> None:
    """While readers are silent, the state is that of a memory which stands behind the written layer alone."""
    states, calls = [], Counter[str]()
    for layers, how in (
        ([WRITTEN], {}),
        (LAYERS, {"shared": True, "written": WRITTEN}),
        ([2, 1, 0], {"shared": True, "written": WRITTEN}),
    ):
        model = make(name)
        memories = attach(model, layers=layers, config=CONFIG, **how)
        ((_, memory),) = memories.items()
        memory.register_forward_hook(lambda *_, seen=str(layers): calls.update([seen]))
        with memories.session() as session:
            for seed in range(3):
                model(prompts(seed=seed))
            session.turn()
            states.append(session.states)
            assert len(session.states) == 1
    assert set(calls.values()) == {3}
    for one in states[1:]:
        assert same_bits(one, states[0])


def test_every_reader_learns_and_the_base_does_not() -> None:
    model, tokens = make(), prompts()
    model.requires_grad_(False)
    memories = attach(model, layers=LAYERS, config=NARROW, shared=True, written=WRITTEN)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    before = [reader.slow_mean.clone() for reader in map(only(memories).reader, range(2))]
    losses = []
    for _ in range(4):
        with memories.session():
            loss = torch.stack([model(tokens, labels=tokens).loss for _ in range(3)]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    learned = dict(memories.named_parameters())
    assert all(p.grad is not None and p.grad.any() for p in learned.values() if p.requires_grad)
    assert sum("readers" in key for key in learned) == 2 * 4  # map in, output map, gate with its bias
    assert all(p.grad is None for n, p in model.named_parameters() if "callosal" not in n)
    for number, old in enumerate(before):
        assert not torch.equal(only(memories).reader(number).slow_mean, old)


def test_a_training_call_that_fails_leaves_the_readers_means_as_they_were() -> None:
    model, memories = remembering()
    model.train()
    with memories.session() as session:
        model(prompts())
        before = copy.deepcopy(memories.state_dict())
        opened = session.states
        handle = model.lm_head.register_forward_pre_hook(lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            model(prompts(seed=3))
        handle.remove()
        assert same_bits(dict(memories.state_dict()), dict(before))
        assert same_bits(session.states, opened)


@BOTH
def test_generation_in_a_session_is_a_full_pass(name: str) -> None:
    (model, memories), tokens = remembering(name), prompts()
    how: dict[str, Any] = {"do_sample": False, "max_new_tokens": 6}
    with memories.session() as session:
        model(prompts(seed=3))
        reply = model.generate(tokens, **how)
        by_token = session.states
        after = model(prompts(seed=4)).logits
    with memories.session() as session:
        model(prompts(seed=3))
        whole = model(reply[:, :-1]).logits
        assert_same_states(session.states, by_token)
        assert torch.equal(whole[:, 6:].argmax(-1), reply[:, 7:])
        assert_near(model(prompts(seed=4)).logits, after, SINGLE)
    with memories.session(USERS) as session:
        beams = model.generate(tokens, num_beams=3, **how)
        by_beam = session.states
    with memories.session(USERS) as session:
        assert beams.shape == reply.shape
        model(beams[:, :-1])
        assert_same_states(session.states, by_beam)


def test_padding_and_other_rows_do_not_show() -> None:
    (model, memories), tokens = remembering(), prompts()
    padded, mask, positions = pad_left(tokens, 3)
    with memories.session() as session:
        logits = [model(padded, attention_mask=mask, position_ids=positions).logits for _ in range(2)]
        session.turn()
        together = {name: state[1] for name, state in session.states.items()}
    with memories.session() as session:
        alone = [model(tokens[1:2, 3:]).logits for _ in range(2)]
        session.turn()
        assert_same_states(session.states, together)
    for one, other in zip(logits, alone, strict=True):
        assert_near(one[1:2, 3:], other, SINGLE)


def test_a_user_has_one_memory_in_stores_of_both_kinds(tmp_path: Path) -> None:
    (model, memories), tokens = remembering(), prompts()
    (name,) = memories
    with memories.session(USERS) as session:
        model(tokens)
        session.turn()
        expected = model(tokens.flip(1)).logits
    for store in (DictStore(), MemoryStore(tmp_path)):
        with memories.session(USERS, store):
            model(tokens)
        with memories.session(["cy", "ada"], store) as session:
            assert_near(model(tokens.flip(1)[[2, 0]]).logits, expected[[2, 0]], SINGLE)
            kept = session.states[name]
        assert kept.trace.any()
    folder = MemoryStore(tmp_path)
    assert folder.users() == sorted(USERS)
    assert list(folder.layers("ada")) == [name]
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
    # To a memory of the same sizes that is not shared it is another's.
    alone = attach(make(), layers=[WRITTEN], config=CONFIG)
    with pytest.raises(MemoryFileError, match="other weights"), alone.session("ada", folder):
        pass


def test_a_state_is_taken_edited_put_back_and_lesioned_as_that_of_one_memory() -> None:
    (model, memories), tokens = remembering(), prompts(rows=1)
    (name,) = memories
    with memories.session("ada") as session:
        model(tokens)
        session.turn()
        with session.one_turn():
            model(tokens)
            opened, more = session.states, prompts(rows=1, seed=5)
            first = model(more).logits
            assert not torch.equal(model(more).logits, first)
            session.replace(opened)  # what every layer has seen since is taken back
            assert torch.equal(model(more).logits, first)
        told = session.states
        known = model(tokens).logits
        session.replace(told)
        session.lesion("left", "right")
        lesioned = model(tokens).logits
        blank = {name: memories[name].blank(1)}
        session.lesion()
        session.replace(blank)
        assert_near(model(tokens).logits, lesioned, SINGLE)  # in every layer
        assert not torch.allclose(known, lesioned)
        session.replace({name: merge(told[name], told[name])})
        assert_near(model(tokens).logits, known, SINGLE)


def test_a_copy_and_a_half_precision_model_share_too() -> None:
    model, memories = remembering(warn_outside_session=False)
    twin, tokens = copy.deepcopy(model), prompts()
    with memories.session(), twin.callosal.session():
        for _ in range(2):
            assert torch.equal(twin(tokens).logits, model(tokens).logits)
    half, base = model.to(torch.bfloat16), make().to(torch.bfloat16)
    with memories.session() as session:
        replies = half.generate(tokens, max_new_tokens=3)
        assert not torch.equal(half(tokens).logits, base(tokens).logits)
        assert replies.shape == (3, 10)
        assert all(state.trace.dtype == torch.float32 for state in session.states.values())


def test_adapters_hold_every_reader_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    model, memories = remembering(config=NARROW)
    memories.save_pretrained(tmp_path)
    described = json.loads((tmp_path / adapter.CONFIG).read_text())
    assert described["layers"] == decoder_layers(model)
    assert described["written"] == decoder_layers(model)[WRITTEN]
    assert "behind 3 of the model's layers, which share one." in str(hub.HubAdapter(memories).generate_model_card())
    other, tokens = make(), prompts()
    again = attach_pretrained(other, tmp_path)
    assert again.places == memories.places
    with memories.session(), again.session():
        for _ in range(2):
            assert torch.equal(other(tokens).logits, model(tokens).logits)
    unload(other)
    for changes, message in (
        ({"written": None}, "do not fit"),
        ({"written": decoder_layers(model)[0]}, "do not fit"),
        ({"layers": decoder_layers(model)[:2]}, "do not fit"),
        ({"layers": decoder_layers(model)[1:2]}, "missing or unknown entries: the layer that is written"),
        ({"written": "model.norm"}, "missing or unknown entries: the layer that is written"),
        ({"written": 1}, "missing or unknown entries: the layer that is written"),
    ):
        (tmp_path / adapter.CONFIG).write_text(json.dumps(described | changes))
        with pytest.raises(ValueError, match=message):
            attach_pretrained(other, tmp_path)
        assert not hasattr(other, "callosal")


@pytest.mark.parametrize("config", [CONFIG, NARROW], ids=["wide", "narrow"])
def test_calibrated_readers_start_silent_see_alike_and_are_kept(tmp_path: Path, config: MemoryConfig) -> None:
    model, tokens = make(), prompts(rows=8, time=40, seed=7)
    before = model(tokens).logits
    memories = attach(model, layers=LAYERS, config=config, shared=True, written=WRITTEN)
    memories.calibrate(prompts(rows=40, time=40))
    memory = only(memories)
    with memories.session():
        assert torch.equal(model(tokens).logits, before)
    unload(model)
    _, *states = model(tokens, output_hidden_states=True).hidden_states
    seen = memory.led_in(states[WRITTEN])
    for number, layer in enumerate((0, 2)):
        reader = memory.reader(number)
        assert reader.config.calibrated
        # The last hidden states of transformers are normalised; a layer's own are not.
        if layer == 0:
            cosine = torch.cosine_similarity(reader.led_in(states[layer]), seen, dim=-1).mean()
            assert cosine > 0.5
    memories = attach(model, layers=LAYERS, config=config, shared=True, written=WRITTEN)
    memories.calibrate(prompts(rows=40, time=40))
    trained(memories).save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="no longer zero"):
        memories.calibrate(prompts(rows=40, time=40))
    again = attach_pretrained(make(), tmp_path)
    for key, tensor in memories.state_dict().items():
        assert_same_bits_of(again.state_dict()[key], tensor)


def test_what_cannot_be_shared_is_refused_and_the_model_left_alone() -> None:
    model = make()
    refused: tuple[tuple[Any, dict[str, Any], str], ...] = (
        ([0, 1], {"shared": True, "written": 2}, r"written=2 is 'model\.layers\.2', which is none of the layers"),
        ([0, 1], {"shared": True, "written": 9}, "from -3 to 2"),
        ([0, 1], {"written": 1}, "pass shared=True or leave it out"),
        (1, {"shared": True}, r"the one layer 1; name the layers that share a memory: layers=\["),
        ("model.layers.1", {"shared": True}, r"the one layer 'model\.layers\.1'"),
        ([0, 0], {"shared": True}, "each layer once"),
    )
    for layers, how, message in refused:
        with pytest.raises(ValueError, match=message):
            attach(model, layers, CONFIG, **how)
        assert not hasattr(model, "callosal")
    # How wide a layer of a plain module is shows when it runs.
    plain = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 6))
    memories = attach(plain, ["0", "1"], MemoryConfig(width=8, num_slots=3), shared=True, written="0")
    with memories.session() as session:
        with pytest.raises(ValueError, match=r"of shape \(2, 5, 6\) behind layer '1', where .* \[batch, time, 8\]"):
            plain(torch.randn(2, 5, 8))
        assert not session.states
