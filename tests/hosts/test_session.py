"""Sessions: what is carried, committed and saved; generation, padding, beams, and rows that never leak."""

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from tests.hosts.hosts import (
    CONFIG,
    MODELS,
    PAD,
    VOCABULARY,
    DictStore,
    make,
    prompts,
    remembering,
    tensors,
    trained,
)
from tests.laws import assert_near, assert_same_state
from tests.tolerances import SINGLE
from torch import Tensor

from callosal import MemoryState, attach
from callosal.hosts.attach import Memories
from callosal.hosts.session import entry
from callosal.memory import reset_banks

ALL = pytest.mark.parametrize("name", list(MODELS))
USERS = ("ada", "bob", "cy")


def read(memories: Memories, tokens: Tensor, **kwargs: Any) -> dict[str, MemoryState]:
    """Return the open states after one call that reads these tokens."""
    with memories.session() as session:
        memories.model(tokens, **kwargs)
        return session.states


def assert_same_states(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(actual) == list(expected)
    for name, state in actual.items():
        assert_same_state(state, expected[name], SINGLE)


def same_bits(left: Any, right: Any) -> bool:
    pairs = zip(tensors(left), tensors(right), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@ALL
def test_generation_token_by_token_is_reading_at_once(name: str) -> None:
    model, memories = remembering(name)
    tokens = prompts()
    with memories.session() as session:
        model(prompts(seed=3))
        reply = model.generate(tokens, max_new_tokens=6, do_sample=False)
        by_token = session.states
        after = model(prompts(seed=4)).logits
    with memories.session() as session:
        model(prompts(seed=3))
        # The last token of a reply is never fed to the model.
        logits = model(reply[:, :-1]).logits
        assert_same_states(by_token, session.states)
        assert torch.equal(logits[:, 6:].argmax(-1), reply[:, 7:])
        assert_near(model(prompts(seed=4)).logits, after, SINGLE)


@ALL
def test_pieces_with_a_cache_are_one_turn(name: str) -> None:
    model, memories = remembering(name)
    tokens = prompts()
    with memories.session() as session:
        whole, at_once = model(tokens).logits, session.states
    with memories.session() as session:
        logits, cache = [], None
        for piece in tokens.split([3, 1, 1, 2], 1):
            out = model(piece, past_key_values=cache)
            cache = out.past_key_values
            logits.append(out.logits)
        assert_near(torch.cat(logits, 1), whole, SINGLE)
        assert_same_states(session.states, at_once)


def test_a_reply_can_be_generated_in_two_calls_that_hand_the_cache_on() -> None:
    model, memories = remembering()
    tokens, settings = prompts(), {"do_sample": False, "return_dict_in_generate": True}
    with memories.session() as session:
        whole = model.generate(tokens, max_new_tokens=6, **settings).sequences
        at_once = session.states
    with memories.session() as session:
        first = model.generate(tokens, max_new_tokens=3, **settings)
        cache = first.past_key_values
        reply = model.generate(
            first.sequences, max_new_tokens=3, past_key_values=cache, **settings
        ).sequences
        assert torch.equal(reply, whole)
        assert_same_states(session.states, at_once)


@ALL
def test_left_padding_is_as_if_absent(name: str) -> None:
    model, memories = remembering(name)
    tokens = prompts()
    mask = torch.ones_like(tokens)
    mask[1, :3] = 0
    tokens[1, :3] = PAD
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    padded = read(memories, tokens, attention_mask=mask, position_ids=positions)
    alone = read(memories, tokens[1:2, 3:])
    assert_same_states({n: s[1] for n, s in padded.items()}, alone)

    with memories.session() as session:
        together = model.generate(tokens, attention_mask=mask, max_new_tokens=4, do_sample=False)
        padded = {name: state[1] for name, state in session.states.items()}
    with memories.session() as session:
        reply = model.generate(tokens[1:2, 3:], max_new_tokens=4, do_sample=False)
        assert torch.equal(together[1:2, 3:], reply)
        assert_same_states(padded, session.states)


def ending(model: Any, tokens: Tensor) -> tuple[int, list[int]]:
    """Return a token that ends some greedy replies early and others late, and rows by reply length."""
    replies = model.generate(tokens, max_new_tokens=8, do_sample=False)[:, tokens.shape[1] :]
    for end in range(3, VOCABULARY):
        lengths, rows = (replies != end).cumprod(1).sum(1).sort()
        if lengths[1] < 7 and lengths[-1] > lengths[1]:
            return end, rows.tolist()
    raise AssertionError("no token ends the replies at different times")


@ALL
def test_a_row_that_ended_does_not_read_the_padding_behind_it(name: str) -> None:
    model, memories = remembering(name)
    tokens = prompts(rows=12)
    with memories.session():
        end, _ = ending(model, tokens)
    settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": end}
    with memories.session() as session:
        together = model.generate(tokens, **settings)
        states = session.states
    lengths = set()
    for row in range(len(tokens)):
        with memories.session() as session:
            alone = model.generate(tokens[row : row + 1], **settings)
            lengths.add(alone.shape[1])
            assert torch.equal(together[row, : alone.shape[1]], alone[0])
            assert_same_states({n: s[row] for n, s in states.items()}, session.states)
    assert len(lengths) > 1


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_beams_reorder_rows_and_the_memory_keeps_the_text_that_won(name: str) -> None:
    model, memories = remembering(name)
    tokens, mask = prompts(), torch.ones(3, 7, dtype=torch.long)
    mask[1, :2], tokens[1, :2] = 0, PAD
    store = DictStore()
    with memories.session(USERS, store):
        model(prompts(seed=9))
    settings = {"max_new_tokens": 6, "num_beams": 4, "do_sample": False, "attention_mask": mask}
    for returned in (1, 2):
        with memories.session(USERS, copy.deepcopy(store)) as session:
            cached = model.generate(tokens, num_return_sequences=returned, **settings)
            states = session.states
        texts = cached[::returned, :-1]
        full = torch.cat([mask, torch.ones(3, texts.shape[1] - 7, dtype=torch.long)], 1)
        positions = (full.cumsum(1) - 1).clamp_min(0)
        with memories.session(USERS, copy.deepcopy(store)) as session:
            model(texts, attention_mask=full, position_ids=positions)
            assert_same_states(states, session.states)


def test_beams_are_those_of_a_search_that_reads_everything_again_for_each_token() -> None:
    # An oracle of its own: beam search by hand, in which no memory is ever reordered.
    model, memories = remembering()
    beams, steps, tokens = 3, 5, prompts(rows=1)

    def scores(texts: Tensor) -> Tensor:
        with memories.session():
            return model(texts).logits[:, -1].log_softmax(-1)

    first = scores(tokens)[0].topk(beams)
    texts = torch.cat([tokens.expand(beams, -1), first.indices[:, None]], 1)
    total, changed = first.values, False
    for _ in range(steps - 1):
        joint = (total[:, None] + scores(texts)).reshape(-1).topk(beams)
        rows, total = joint.indices // VOCABULARY, joint.values
        changed |= rows.tolist() != list(range(beams))
        texts = torch.cat([texts[rows], joint.indices[:, None] % VOCABULARY], 1)
    assert changed
    with memories.session():
        found = model.generate(
            tokens,
            num_beams=beams,
            num_return_sequences=beams,
            max_new_tokens=steps,
            do_sample=False,
        )
    assert torch.equal(found, texts)


def test_of_several_samples_the_memory_keeps_the_first() -> None:
    model, memories = remembering()
    tokens = prompts()
    with memories.session(USERS) as session:
        torch.manual_seed(0)
        replies = model.generate(tokens, max_new_tokens=4, do_sample=True, num_return_sequences=3)
        states = session.states
    assert_same_states(states, read(memories, replies[::3, :-1]))


def test_a_static_cache_is_as_good() -> None:
    model, memories = remembering()
    tokens, mask = prompts(), torch.ones(3, 7, dtype=torch.long)
    mask[0, :3] = 0
    settings = {"attention_mask": mask, "max_new_tokens": 4, "do_sample": False}
    answers = []
    for kind in (None, "static"):
        with memories.session() as session:
            reply = model.generate(tokens, cache_implementation=kind, **settings)
            answers.append((reply, session.states))
    assert torch.equal(answers[0][0], answers[1][0])
    assert_same_states(answers[1][1], answers[0][1])


def talk(memories: Memories, texts: Tensor, users: list[str], end: int) -> tuple[Any, DictStore]:
    """Let users talk in one batch, two turns and a generation; return the outputs and the store."""
    store, model = DictStore(), cast(Any, memories.model)
    with memories.session(users, store):
        outputs = [model(texts).logits, model(texts.flip(1)).logits]
        settings = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": end}
        outputs.append(model.generate(texts, **settings)[:, texts.shape[1] :])
    with memories.session(users, store):
        outputs.append(model(texts).logits)
    return outputs, store


@ALL
def test_no_user_s_text_moves_a_bit_of_another_s_output_or_file(name: str) -> None:
    _, memories = remembering(name)
    users = [f"user {number}" for number in range(64)]
    texts = prompts(rows=64)
    changed = texts.clone()
    changed[17] = prompts(rows=1, seed=5)
    with memories.session():
        end, _ = ending(memories.model, texts)
    (outputs, store), (others, other) = (
        talk(memories, batch, users, end) for batch in (texts, changed)
    )
    keep = torch.arange(64) != 17
    for left, right in zip(outputs, others, strict=True):
        time = min(left.shape[1], right.shape[1])
        assert torch.equal(left[keep, :time], right[keep, :time])
    assert not torch.equal(outputs[0][17], others[0][17])
    for number, user in enumerate(users):
        for layer in memories:
            left, right = (s.entries[entry(user, layer)] for s in (store, other))
            assert same_bits(left, right) == (number != 17)


@ALL
def test_how_long_another_s_reply_is_does_not_show_in_a_file(name: str) -> None:
    model, memories = remembering(name)
    texts = prompts(rows=32)
    with memories.session():
        end, order = ending(model, texts)
    stores, times = [], []
    # The first user's reply is the shortest; the other's is as short as it gets, then the longest.
    for other in (order[1], order[-1]):
        stores.append(DictStore())
        with memories.session(["ada", "bob"], stores[-1]):
            batch = texts[[order[0], other]]
            settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": end}
            times.append(model.generate(batch, **settings).shape[1])
    assert times[0] < times[1]
    for layer in memories:
        assert same_bits(*(store.entries[entry("ada", layer)] for store in stores))


def test_beams_do_not_leak_either() -> None:
    model, memories = remembering()
    texts = prompts(rows=4)
    changed, stores = texts.clone(), []
    changed[2] = prompts(rows=1, seed=5)
    with memories.session():
        end, _ = ending(model, prompts(rows=32))
    for batch in (texts, changed):
        stores.append(DictStore())
        with memories.session(list("abcd"), stores[-1]):
            model.generate(batch, num_beams=3, max_new_tokens=6, do_sample=False, eos_token_id=end)
    for user in "abcd":
        for layer in memories:
            left, right = (store.entries[entry(user, layer)] for store in stores)
            assert same_bits(left, right) == (user != "c")


def test_what_was_saved_goes_on_in_any_batch() -> None:
    model, memories = remembering()
    store, tokens = DictStore(), prompts()
    with memories.session(USERS, store) as session:
        model(tokens)
        session.turn()
        expected = model(tokens.flip(1)).logits
    again = DictStore()
    with memories.session(USERS, again):
        model(tokens)
    assert sorted(again.entries) == sorted(entry(u, n) for u in USERS for n in memories)
    assert all(state.segment is None for state in again.entries.values())
    with memories.session(["cy", "ada"], again):
        got = model(tokens.flip(1)[[2, 0]]).logits
    assert_near(got, expected[[2, 0]], SINGLE)


def test_a_call_without_a_past_begins_a_turn() -> None:
    model, memories = remembering()
    tokens = prompts()
    with memories.session() as session:
        model(tokens)
        opened = session.states
        assert all(state.segment is not None for state in opened.values())
        assert all(not state.trace.any() for state in opened.values())
        session.turn()
        explicit = session.states
        assert all(state.segment is None and state.trace.any() for state in explicit.values())
        session.turn()
        assert all(same_bits(session.states[name], explicit[name]) for name in explicit)
        second = model(tokens).logits
    with memories.session():
        model(tokens)
        assert torch.equal(model(tokens).logits, second)


def test_after_an_error_nothing_is_saved_and_the_model_is_free() -> None:
    model, memories = remembering(warn_outside_session=False)
    store, tokens = DictStore(), prompts(rows=1)
    base = make()(tokens).logits
    with pytest.raises(ZeroDivisionError), memories.session("ada", store):  # noqa: PT012
        model(tokens)
        raise ZeroDivisionError
    assert not store.entries
    assert "generate" not in vars(model)
    assert torch.equal(model(tokens).logits, base)
    with memories.session("ada", store):
        model(tokens)
    assert len(store.entries) == 2


def test_a_call_that_fails_half_way_leaves_all_layers_as_they_were() -> None:
    model, memories = remembering()
    tokens = prompts()
    last = memories["model.layers.1"]
    with memories.session() as session:
        model(tokens)
        before = session.states

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        for call in (lambda: model(tokens), lambda: model.generate(tokens, max_new_tokens=2)):
            handle = last.register_forward_pre_hook(fail)
            with pytest.raises(ZeroDivisionError):
                call()
            handle.remove()
            assert all(same_bits(session.states[name], before[name]) for name in before)
        after = model(tokens).logits
    with memories.session():
        model(tokens)
        assert torch.equal(model(tokens).logits, after)


def test_caches_get_their_methods_back() -> None:
    model, memories = remembering(warn_outside_session=False)
    cache = model(prompts()).past_key_values
    with memories.session():
        model.generate(prompts(), max_new_tokens=2, past_key_values=(mine := type(cache)()))
        assert "reorder_cache" in vars(mine)
        twin = copy.deepcopy(mine)
        assert twin.reorder_cache.__self__ is twin
    assert not {"reorder_cache", "batch_select_indices", "crop"} & vars(mine).keys()


def test_a_search_of_one_s_own_reorders_the_memory_with_its_cache() -> None:
    model, memories = remembering()
    tokens, rows = prompts(), torch.tensor([2, 2, 0])
    with memories.session():
        model(tokens[rows, :5])
        expected = model(tokens[rows]).logits[:, 5:]
    with memories.session() as session:
        old = model(tokens[:, :5]).past_key_values
        cache = model(tokens[:, :5]).past_key_values
        old.reorder_cache(torch.tensor([1, 1, 1]))
        cache.reorder_cache(rows)
        got = model(tokens[rows, 5:], past_key_values=cache).logits
        assert_near(got, expected, SINGLE)
        assert len(session.states["model.layers.0"]) == 3


def test_a_switch_saves_and_loads_and_after_an_error_the_users_stay() -> None:
    model, memories = remembering()
    store, tokens = DictStore(), prompts(rows=1)
    with memories.session("bob", store):
        model(tokens.flip(1))
    bob = copy.deepcopy(store.entries)
    with memories.session("ada", store) as session:
        model(tokens)
        session.switch("bob")
        assert session.users == ("bob",)
        assert all(same_bits(session.states[n], bob[entry("bob", n)]) for n in memories)
        ada = store.entries[entry("ada", "model.layers.0")]
        assert ada.segment is None
        assert ada.trace.any()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "load", fail)
            with pytest.raises(ZeroDivisionError):
                session.switch(["ada", "cy"])
        assert session.users == ("bob",)
        assert len(session.states["model.layers.0"]) == 1
        with pytest.raises(ValueError, match="only once"):
            session.switch(["ada", "ada"])
    with memories.session() as session, pytest.raises(ValueError, match="rows of no user"):
        session.switch("ada")


def fail(*_: object) -> None:
    raise ZeroDivisionError


def test_a_turn_is_taken_back_by_replacing_the_states() -> None:
    model, memories = remembering()
    tokens = prompts()
    for users in (None, USERS):
        with memories.session(users) as session:
            blank = session.states
            model(tokens.flip(1))
            session.replace(blank)
            model(tokens)
            first = session.states
            model(tokens.flip(1))
            session.replace(first)
            got = model(tokens).logits
        with memories.session():
            model(tokens)
            assert torch.equal(model(tokens).logits, got)


def test_states_that_do_not_belong_are_refused() -> None:
    model, memories = remembering()
    with memories.session(USERS) as session:
        model(prompts())
        states = session.states
        narrow = {n: MemoryState(trace=s.trace[..., :4]) for n, s in states.items()}
        for wrong, message in (
            ({}, "there are memories behind"),
            ({"elsewhere": states["model.layers.0"]}, "there are memories behind"),
            ({n: s[:2] for n, s in states.items()}, "one per user"),
            (narrow, "(bank, slot, width)"),
        ):
            with pytest.raises(ValueError, match=re.escape(message)):
                session.replace(wrong)
        assert all(same_bits(session.states[n], states[n]) for n in states)


def test_a_lesioned_bank_reads_as_blank_and_is_written_as_ever() -> None:
    model = make()
    memories = trained(attach(model, layers=[-1], config=CONFIG))
    (layer,) = memories
    first, second, third = (prompts(seed=seed) for seed in (3, 4, 5))

    def listen(*lesions: tuple[str | int, ...]) -> tuple[Tensor, MemoryState]:
        store = DictStore()
        with memories.session(USERS, store) as session:
            model(first)
            session.lesion(*lesions[0])
            model(second)
            session.lesion(*lesions[1])
            logits = model(third).logits
            session.save()
            kept = MemoryState.stack([store.entries[entry(user, layer)] for user in USERS])
            assert same_bits(kept, session.states[layer])
        return logits, kept

    whole, kept = listen((), ())
    for lesions in (
        (("left",), ("left",)),
        (("right", 0), ()),
        ((), (1,)),
        ((0,), ("left", "right")),
    ):
        logits, after = listen(*lesions)
        assert same_bits(after, kept)  # nothing that anybody saves is lesioned
        assert torch.equal(logits, whole) == (not lesions[-1])

    # A reader of its own: the memory before the last turn, without its left bank.
    with memories.session(USERS) as session:
        model(first)
        model(second)
        session.turn()
        session.replace({n: reset_banks(s, ["left"]) for n, s in session.states.items()})
        expected = model(third).logits
    assert torch.equal(listen(("right",), ("left",))[0], expected)


def test_a_lesion_holds_inside_a_turn_and_is_named() -> None:
    model, memories = remembering()
    tokens = prompts()
    with memories.session(USERS) as session:
        model(prompts(seed=3))
        session.lesion("left", 0)
        assert session.lesioned == ("left",)
        before = session.states
        at_once = model(tokens).logits
        session.replace(before)
        cache, pieces = None, []
        for piece in tokens.split([3, 4], 1):
            out = model(piece, past_key_values=cache)
            cache = out.past_key_values
            pieces.append(out.logits)
        assert_near(torch.cat(pieces, 1), at_once, SINGLE)
        with pytest.raises(ValueError, match="it may be 0, 1, left, right"):
            session.lesion("middle")
        assert session.lesioned == ("left",)
        session.lesion()
        assert session.lesioned == ()


def test_mistakes_in_a_session_are_named() -> None:
    model, memories = remembering()
    tokens = prompts()
    with memories.session(USERS):
        with pytest.raises(RuntimeError, match="a session inside a session"), memories.session():
            pass
        with pytest.raises(ValueError, match="2 rows in a session of 3"):
            model(tokens[:2])
        model(tokens)
        with pytest.raises(ValueError, match="6 rows in a session of 3"):
            model(tokens.repeat(2, 1))
        with pytest.raises(ValueError, match="cannot tell which tokens exist"):
            model(tokens, attention_mask=torch.zeros(3, 1, 7, 7))
        with pytest.raises(ValueError, match="use_cache=True"):
            model.generate(tokens, max_new_tokens=2, use_cache=False)
        with pytest.raises(ValueError, match="stop at tokens with eos_token_id"):
            model.generate(tokens, max_new_tokens=2, stopping_criteria=[lambda *_: False])
        cache = model(tokens).past_key_values
        with pytest.raises(ValueError, match="is cropped"):
            cache.crop(-1)
        with pytest.raises(ValueError, match="or use num_beams=1"):
            model.generate(tokens, past_key_values=cache, num_beams=2, max_new_tokens=2)
        with pytest.raises(RuntimeError, match="outside a call of the model"):
            model.model.layers[0](torch.randn(3, 1, 32), position_embeddings=rope(model))
    for users, message in (([], "at least one"), (["ada", "ada"], "only once")):
        with pytest.raises(ValueError, match=message):
            memories.session(users)
    with pytest.raises(ValueError, match="a store but no user"):
        memories.session(store=DictStore())


def rope(model: Any) -> Any:
    return model.model.rotary_emb(torch.randn(3, 1, 32), torch.zeros(3, 1, dtype=torch.long))


def test_an_assistant_s_guesses_are_refused() -> None:
    model, memories = remembering()
    tokens = torch.tensor([[5, 6, 7, 5, 6, 7, 5, 6]])
    with memories.session(), pytest.raises(ValueError, match="is cropped"):
        model.generate(tokens, prompt_lookup_num_tokens=3, max_new_tokens=6, do_sample=False)


def test_a_session_taken_up_again_goes_on_where_it_was() -> None:
    model, memories = remembering()
    tokens = prompts()
    session = memories.session(USERS)
    with session:
        model(tokens)
    with session:
        second = model(tokens).logits
    with memories.session(USERS):
        model(tokens)
        assert torch.equal(model(tokens).logits, second)


CODE = """
import sys, warnings
import torch
warnings.simplefilter("ignore")
from pathlib import Path
from safetensors.torch import load_file
from callosal import MemoryState, attach_pretrained
from tests.hosts.hosts import MODELS, make, prompts

torch.set_num_threads(1)

class Files:
    def __init__(self, folder):
        self.folder = folder

    def load(self, entry, memory):
        return MemoryState(**load_file(self.folder / f"{entry}.safetensors"))

    def save(self, entry, state, memory):
        pass

for name in MODELS:
    folder = Path(sys.argv[1]) / name
    model = make(name)
    with attach_pretrained(model, folder).session("ada", Files(folder)):
        torch.save(model(prompts(rows=1)).logits, folder / "logits.pt")
"""


def test_a_memory_saved_here_is_used_in_another_process(tmp_path: Path) -> None:
    tokens, expected = prompts(rows=1), {}
    for name in MODELS:
        model, memories = remembering(name)
        store, folder = DictStore(), tmp_path / name
        memories.save_pretrained(folder)
        with memories.session("ada", store) as session:
            blank = model(tokens).logits
            session.save()
            for key, state in store.entries.items():
                save_file({"trace": state.trace}, folder / f"{key}.safetensors")
            expected[name] = model(tokens).logits
            assert not torch.allclose(expected[name], blank)
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=root)  # noqa: S603
    assert done.returncode == 0, done.stderr
    for name, logits in expected.items():
        assert_near(torch.load(tmp_path / name / "logits.pt"), logits, SINGLE)
