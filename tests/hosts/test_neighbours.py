"""PEFT, Accelerate, casts, quantisation, compiled code and copies: memories stay whole, acting, and learning."""

import copy
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from accelerate import hooks
from tests.hosts.hosts import CONFIG, WIDTH, make, prompts, remembering, same_bits, trained
from tests.laws import assert_near
from tests.tolerances import SINGLE
from torch import Tensor, nn

from callosal import Memories, MemoryConfig, MemoryStore, attach, attach_pretrained, unload
from callosal.hosts.memories import attached

with warnings.catch_warnings():
    # What it says of itself when it is imported is not ours to mend.
    warnings.simplefilter("ignore")
    import peft

# So do they of each other.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),
    pytest.mark.filterwarnings("ignore:Could not find a config file"),
]

CPU = torch.device("cpu")
LAYERS = ["model.layers.0", "model.layers.1"]


@torch.no_grad()
def answers(model: Any, memories: Memories, tokens: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
    """Return what a model answers in a second turn, and what its memories then hold."""
    tokens = prompts() if tokens is None else tokens
    with memories.session() as session:
        model(input_ids=tokens)
        logits = model(input_ids=tokens).logits
        session.turn()
        return logits, [state.trace for state in session.states.values()]


def assert_same_answers(left: Any, right: Any) -> None:
    assert_near(left[0], right[0], SINGLE)
    for one, other in zip(left[1], right[1], strict=True):
        assert_near(one, other, SINGLE)


def lora(**settings: Any) -> Any:
    settings = {"target_modules": ["q_proj", "v_proj"], "init_lora_weights": False} | settings
    return peft.LoraConfig(task_type="CAUSAL_LM", **settings)


@pytest.mark.parametrize(
    "config",
    [
        lora(target_modules="all-linear", bias="all"),
        lora(),
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    ],
    ids=["all-linear", "names", "prefix", "prompt"],
)
def test_peft_put_on_top_leaves_memories_what_they_were(config: Any, tmp_path: Path) -> None:
    model, memories = remembering()
    names = list(memories.state_dict())
    with memories.session("ada", MemoryStore(tmp_path)), torch.no_grad():
        model(prompts(1))
    wrapped = peft.get_peft_model(model, config)
    assert list(memories.state_dict()) == names
    assert all(parameter.requires_grad for parameter in memories.parameters())
    num_frozen = sum(not parameter.requires_grad for parameter in model.parameters())
    assert num_frozen >= 15  # and the base is frozen
    with memories.session("ada", MemoryStore(tmp_path)) as session:
        wrapped(input_ids=prompts(1))
        turn = session.states
        loss = wrapped(input_ids=prompts(1), labels=prompts(1)).loss
        # A call is a turn, though PEFT hands each a cache that is not empty.
        for name, state in session.states.items():
            assert not same_bits(state.trace, turn[name].trace)
    loss.backward()
    assert all(memories[name].output.weight.grad is not None for name in memories)
    memories.save_pretrained(tmp_path / "adapter")
    assert list(attach_pretrained(make(), tmp_path / "adapter")) == LAYERS


def test_what_a_user_freezes_stays_frozen() -> None:
    model, memories = remembering()
    memories["model.layers.0"].requires_grad_(False)
    peft.get_peft_model(model, lora())
    assert [name for name in memories if memories[name].maps.requires_grad] == LAYERS[1:]
    for parameter in model.parameters():
        parameter.requires_grad = False
    assert not any(parameter.requires_grad for parameter in memories.parameters())


def test_into_a_peft_model_and_out_of_the_merged_one(tmp_path: Path) -> None:
    wrapped = peft.get_peft_model(make(), lora(target_modules="all-linear"))
    memories = trained(attach(wrapped, [0, -1], CONFIG))
    assert list(memories) == LAYERS
    before = answers(wrapped, memories)
    for folder in (wrapped, memories):  # into one folder, in the way of none
        folder.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(make(), tmp_path)
    assert_same_answers(answers(again, attach_pretrained(again, tmp_path)), before)
    assert list(attach_pretrained(make(), tmp_path)) == LAYERS
    merged: Any = wrapped.merge_and_unload()
    assert_same_answers(answers(merged, memories), before)
    assert unload(merged) is merged
    assert not hasattr(merged, "callosal")


def test_the_copy_that_peft_trains_is_the_one_that_acts(tmp_path: Path) -> None:
    model, memories = remembering()
    original = answers(model, memories)
    wrapped = peft.get_peft_model(model, lora(init_lora_weights=True, modules_to_save=["callosal"]))
    acting = attached(model)
    assert acting is not None
    assert acting is not memories
    with memories.session():
        wrapped(input_ids=prompts())
        wrapped(input_ids=prompts(), labels=prompts()).loss.backward()
    learning = {name: p for name, p in wrapped.named_parameters() if p.requires_grad and "callosal" in name}
    assert len(learning) == len(list(memories.parameters()))
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in learning.values())
    with torch.no_grad():
        acting["model.layers.0"].output.weight.mul_(2.0)
    changed = answers(wrapped, memories)
    assert not torch.equal(changed[0], original[0])
    with wrapped.disable_adapter():
        assert_same_answers(answers(wrapped, memories), original)
    memories.save_pretrained(tmp_path)
    plain = make()
    assert_same_answers(answers(plain, attach_pretrained(plain, tmp_path)), changed)
    merged: Any = wrapped.merge_and_unload()
    assert_same_answers(answers(merged, memories), changed)
    unload(merged)
    assert torch.equal(merged(prompts()).logits, make()(prompts()).logits)


def parts(model: Any, folder: Path) -> None:
    places: dict[str, Any] = {name: "disk" if name == "lm_head" else "cpu" for name, _ in model.named_children()}
    accelerate.dispatch_model(model, places, offload_dir=str(folder), force_hooks=True)


OFFLOADS: dict[str, Callable[[Any, Path], Any]] = {
    "cpu": lambda model, _: accelerate.cpu_offload(model, execution_device=CPU),
    "disk": lambda model, folder: accelerate.disk_offload(model, folder, execution_device=CPU),
    "device map": parts,
    "and back": lambda model, _: hooks.remove_hook_from_submodules(accelerate.cpu_offload(model, CPU)),
}


@pytest.mark.parametrize("how", OFFLOADS)
@pytest.mark.parametrize("first", ["attach", "offload"])
def test_memories_of_an_offloaded_model_are_never_away(how: str, first: str, tmp_path: Path) -> None:
    model = make()
    if first == "offload":
        OFFLOADS[how](model, tmp_path)
    memories = trained(attach(model, [0, -1], CONFIG))
    plain = make()
    twin = attach(plain, [0, -1], CONFIG)
    twin.load_state_dict(memories.state_dict())
    if first == "attach":
        OFFLOADS[how](model, tmp_path)
    # An optimiser made now has the parameters that act.
    parameters = list(memories.parameters())
    assert all(p.requires_grad and not p.is_meta for p in parameters)
    assert how == "and back" or any(p.is_meta for p in model.parameters())
    assert_same_answers(answers(model, memories), answers(plain, twin))
    assert all(one is other for one, other in zip(memories.parameters(), parameters, strict=True))
    assert not any("_hf_hook" in vars(module) for module in memories.modules())


CASTS: dict[str, tuple[Callable[[Any], Any], torch.dtype]] = {
    "bfloat16": (lambda model: model.to(torch.bfloat16), torch.float32),
    "half": (lambda model: model.half(), torch.float32),
    "float8": (lambda model: model.to(torch.float8_e4m3fn), torch.float32),
    "double": (lambda model: model.double(), torch.float64),
    "double, then half": (lambda model: model.double().half(), torch.float32),
    "to_empty": (lambda model: model.to_empty(device="cpu"), torch.float32),
    "meta": (lambda model: model.to("meta"), torch.float32),
}


@pytest.mark.parametrize("how", CASTS)
def test_a_cast_model_keeps_its_memories_whole(how: str) -> None:
    model, memories = remembering()
    before, (cast, dtype) = copy.deepcopy(memories.state_dict()), CASTS[how]
    parameters = list(memories.parameters())
    cast(model)
    assert all(torch.equal(tensor, before[name].to(dtype)) for name, tensor in memories.state_dict().items())
    assert all(one is other for one, other in zip(memories.parameters(), parameters, strict=True))


@pytest.mark.parametrize("how", ["bfloat16", "half", "double"])
def test_a_model_may_be_cast_within_a_session(how: str, tmp_path: Path) -> None:
    model, memories = remembering()
    cast, dtype = CASTS[how]
    with memories.session("ada", MemoryStore(tmp_path)) as session, torch.no_grad():
        model(prompts(1))
        cast(model)
        model(prompts(1))
        model.generate(prompts(1), max_new_tokens=2)
        session.turn()
        assert all(state.trace.dtype == dtype and state.trace.isfinite().all() for state in session.states.values())
    with memories.session("ada", MemoryStore(tmp_path)):
        pass


def test_inference_mode_may_end_within_a_session(tmp_path: Path) -> None:
    model, memories = remembering()
    states, session = [], memories.session()
    for mode in (torch.no_grad, torch.inference_mode):
        for _ in range(2):
            session = memories.session("ada", MemoryStore(tmp_path / mode.__name__))
            with session:
                with mode():
                    model(prompts(1))
                model(prompts(1))
                with mode():
                    model(prompts(1))
        states.append({name: state.trace for name, state in session.states.items()})
    assert same_bits(*states)


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_what_scripts_set_as_default_is_not_the_memories(default: torch.dtype) -> None:
    torch.manual_seed(7)
    expected = attach(make(), [-1], CONFIG).state_dict()
    before = torch.get_default_dtype()
    model = make()
    torch.manual_seed(7)
    try:
        torch.set_default_dtype(default)
        model.to(default)
        with torch.device("meta"):
            memories = attach(model, [-1], CONFIG)
        with memories.session(), torch.no_grad():
            model(prompts())
            model(prompts())
        assert torch.get_default_dtype() == default
    finally:
        torch.set_default_dtype(before)
    dtype = torch.float64 if default == torch.float64 else torch.float32
    torch.manual_seed(7)
    make()
    for name, tensor in memories.state_dict().items():
        assert tensor.dtype == dtype
        assert tensor.device.type == "cpu"
        assert tensor.shape == expected[name].shape


def test_no_weights_to_be_had_is_said() -> None:
    model = make()
    with accelerate.init_empty_weights(), pytest.raises(ValueError, match=r"init_empty_weights.*attach after it"):
        attach(model, [-1], CONFIG)
    assert not hasattr(model, "callosal")


def test_no_part_of_a_memory_is_a_linear_layer() -> None:
    """By which quantisation (torchao, bitsandbytes) and PEFT choose what to replace."""
    config = MemoryConfig(width=WIDTH, num_slots=4, salience="learned", inner_width=8, observe=True, calibrated=True)
    memories = attach(make(), [-1], config)
    assert not any(isinstance(module, nn.Linear | nn.Embedding | nn.Conv1d) for module in memories.modules())
    assert {type(tensor) for tensor in memories.state_dict().values()} == {Tensor}


AROUND: dict[str, Callable[[Any], Any]] = {
    "model.compile": lambda model: model.compile(backend="eager"),
    "model.forward": lambda model: setattr(model, "forward", torch.compile(model.forward, backend="eager")),
    "inner.compile": lambda model: model.model.compile(backend="eager"),
    "inner": lambda model: setattr(model, "model", torch.compile(model.model, backend="eager")),
    "hooked": lambda model: hooks.add_hook_to_module(model, hooks.ModelHook()),
}
WITHIN: dict[str, Callable[[Any], Any]] = {
    "the layer": lambda model: model.layers.__setitem__(1, torch.compile(model.layers[1], backend="eager")),
    "inside": lambda model: model.layers[1].mlp.compile(backend="eager"),
    "beside": lambda model: model.layers[0].compile(backend="eager"),
}


@pytest.mark.parametrize("what", ["model.compile", "model.forward", "inner.compile", "inner", "hooked"])
def test_compiled_code_around_a_layer_is_refused(what: str) -> None:
    model = make()
    if what == "hooked":
        AROUND["model.forward"](model)
    AROUND[what](model)
    with pytest.raises(ValueError, match="compiled code does not see new hooks; attach first, then compile"):
        attach(model, ["model._orig_mod.layers.1" if what == "inner" else "model.layers.1"], CONFIG)
    assert not hasattr(model, "callosal")


@pytest.mark.parametrize("what", WITHIN)
def test_compiled_code_elsewhere_is_no_matter(what: str) -> None:
    model = make()
    WITHIN[what](model.model)
    with torch.no_grad():
        model(prompts())
    memories = trained(attach(model, [-1], CONFIG))
    plain = make()
    twin = attach(plain, [-1], CONFIG)
    twin.load_state_dict(memories.state_dict())
    assert_same_answers(answers(model, memories), answers(plain, twin))


@pytest.mark.parametrize("inside", [False, True], ids=["between sessions", "in a session"])
def test_copies_are_models_of_their_own(inside: bool) -> None:
    model, memories = remembering()
    expected = answers(model, memories)
    session = memories.session()
    if inside:
        session.__enter__()
        model(prompts())
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert twin.callosal.model is twin
        assert_same_answers(answers(twin, twin.callosal), expected)
        unload(twin)
    if inside:
        session.__exit__(None, None, None)
    assert_same_answers(answers(model, memories), expected)


def test_a_copy_of_memories_alone_copies_no_model() -> None:
    model, memories = remembering()
    twin = copy.deepcopy(memories)
    assert twin.model is model
    assert all(
        one is not other and torch.equal(one, other)
        for one, other in zip(memories.parameters(), twin.parameters(), strict=True)
    )
