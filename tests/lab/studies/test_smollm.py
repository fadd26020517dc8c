"""The study of SmolLM2 on a tiny model: what is cached is what the model does, and a run measures all it claims."""

import math
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from tests.hosts.hosts import SIZES, transformers
from tests.tolerances import SINGLE

from callosal import LateralMemory, MemoryConfig, attach
from callosal.hosts.cue import Cue
from callosal.lab.report.records import append_record
from callosal.lab.studies.catalog import layout_of, read_report
from callosal.lab.studies.smollm import run as smollm
from callosal.lab.studies.smollm.cells import ALONE, CUED, MAIN
from callosal.lab.studies.smollm.forgetting import forgetting_curve
from callosal.lab.studies.smollm.lessons import Lessons
from callosal.lab.studies.smollm.measures import ASTRAY_WITH_CUE, OUT_OF_PLACE, WITH_CUE
from callosal.lab.studies.smollm.pointing import OPENING, pointed
from callosal.lab.studies.smollm.recipe import cell, configs
from callosal.lab.studies.smollm.replying import REPLY, begins_with, replies_alone, replies_with_cue
from callosal.lab.studies.smollm.texts import (
    END,
    OPENINGS,
    PIECE,
    BookConfig,
    Halves,
    Rows,
    read_book,
    replies_of,
    sample_told,
)
from callosal.lab.studies.smollm.training import (
    answered,
    contrasting_step,
    lay_slots,
    new_memory,
    ordinary_states,
    out_of_place,
    queries_of,
    sample_users,
    twin_of,
    twin_reads,
    written,
)
from callosal.lab.tasks.locomo import LongConversation, Question
from callosal.lab.tasks.profile import CUE, Wordings
from callosal.memory.config import Normalised
from callosal.training.loop import TrainingConfig

LETTERS = 128
BOOK = BookConfig(
    num_stated=30, num_chatter=4, num_rules=4, words=Wordings(), seed=0, num_ordinary=6, num_dialogues=3, cue=CUE
)
MEMORY = replace(cell(MAIN, 0).memory, width=32, inner_width=8, num_slots=6)


class Tokenizer:
    """Each letter is a token."""

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) % LETTERS for letter in text]}

    def decode(self, tokens: list[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(map(chr, tokens))


def tiny() -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = SIZES | {"vocab_size": LETTERS, "num_hidden_layers": 3, "max_position_embeddings": 2048}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval().requires_grad_(False)


@pytest.fixture
def halves_and_book(tmp_path: Path) -> Any:
    halves = Halves(tiny(), 1)
    return halves, read_book(BOOK, halves, Tokenizer(), tmp_path, "tiny")


def test_a_model_in_halves_answers_as_the_whole_does_in_a_session(halves_and_book: Any, tmp_path: Path) -> None:
    halves, book = halves_and_book
    again = read_book(BOOK, halves, Tokenizer(), tmp_path, "tiny")
    assert torch.equal(again.stated[0].told.hidden, book.stated[0].told.hidden)
    user = sample_told(book, 3, book.chatter[:1], Random(0))
    model = tiny()
    memories = attach(model, layers=1, config=MEMORY, warn_outside_session=False)
    (name,) = memories
    with torch.no_grad():
        memory = new_memory(MEMORY, Lessons(), halves, ordinary_states(book)).eval()
        memories[name].load_state_dict(memory.state_dict())
        state = written(memory, halves, Rows.of_users([user.turns]))
        logits, targets, of_text = answered(memory, halves, user.asked[:1], state)
        with memories.session() as session:
            for turn in user.turns:
                model(turn.tokens[None])
            session.turn()
            told = session.states[name].trace
            whole = model(user.asked[0].tokens[None]).logits[0, user.asked[0].prompt - 1 :]
    # The cached states are in half precision.
    assert torch.allclose(logits, whole, atol=0.05 * float(whole.abs().max()))
    assert torch.allclose(state.trace, told, atol=0.05 * float(told.abs().max()))
    assert not torch.allclose(
        logits, answered(None, halves, user.asked[:1], None)[0], atol=0.1 * float(whole.abs().max())
    )
    assert targets.tolist()[:-1] == user.asked[0].tokens[user.asked[0].prompt :].tolist()
    assert of_text.tolist() == [0] * len(targets)
    place = user.asked[0].value
    assert place is not None
    first, last = place
    assert "".join(map(chr, user.asked[0].tokens[first:last])).strip() == user.facts[0].value


@pytest.mark.parametrize(("normalised", "level"), [("slots", None), ("retrieved", None), ("retrieved", 0.4)])
def test_pointing_is_what_a_memory_holds_of_the_answer(
    halves_and_book: Any, normalised: Normalised, level: float | None
) -> None:
    halves, book = halves_and_book
    # Each token is a direction of its own, written as it is, and what was retrieved is nothing.
    halves.embedding = torch.eye(LETTERS)
    config = MemoryConfig(
        width=LETTERS,
        num_slots=5,
        observe=True,
        embedded=True,
        writers="lagged",
        salience="learned",
        output_gate=True,
        inertia=0.5,
        normalised=normalised,
    )
    blank = 0.3
    torch.manual_seed(1)
    memory = cast_to(LETTERS, config)
    (stated,) = [one for one in book.stated if len(one.facts) == 1][:1]
    told, asked = wide(Rows.of_users([[stated.told]])), wide_text(stated.asked[0])
    with torch.no_grad():
        found = pointed(memory, told, [asked], torch.tensor([0]), blank=blank, level=level)
        held = written(memory, halves, told).trace
        memory.observation.zero_()
        held = (held - written(memory, halves, told).trace) / math.sqrt(LETTERS)
        reads, _, gives = memory.look(asked.hidden[None].float())
        told_looks, _, told_give = memory.look(told.hidden[:, 0], told.mask[:, 0])
    first, last = asked.value
    tokens = torch.einsum("tks,ksw->tw", reads[0, :, 0], held[0])
    expected = torch.stack([tokens[at - 1, asked.tokens[at]] for at in range(first, last)])
    if normalised == "retrieved":
        expected = expected / (tokens[first - 1 : last - 1].sum(-1) + (level or blank))
    assert torch.allclose(found.chance, expected, atol=SINGLE)
    assert (found.chance > 0.0).all()
    # An answer is decided from the last token of the prompt on, up to the last but one of its value.
    assert torch.equal(found.open, gives[0, asked.prompt - 1 : last - 1])
    heard, told_heard = gives[0], told_give[0]
    if level is not None:
        of_told = torch.einsum("tks,ksw->t", told_looks[0, :, 0], held[0])
        heard, told_heard = heard * tokens.sum(-1) / (tokens.sum(-1) + level), told_heard * of_told / (of_told + level)
    closed = torch.cat([told_heard, heard[: asked.prompt - 1], heard[last - 1 :]])
    assert torch.allclose(found.closed, closed, atol=SINGLE)


def test_out_of_place_is_heard_what_a_users_memory_holds_where_a_reply_looks(halves_and_book: Any) -> None:
    halves, book = halves_and_book
    torch.manual_seed(0)
    twin = twin_of(new_memory(MEMORY, Lessons(), halves, ordinary_states(book)))
    led_in = twin_reads(book, twin)
    users = sample_users(led_in, Lessons(facts=(2,), between=(1,)), 3, Random(0))
    idle = out_of_place(led_in, users, Random(1))
    for user, (untold, other, cued) in zip(users, idle, strict=True):
        assert not {fact.attribute for fact in user.facts} & {
            stated.facts[0].attribute for stated in led_in.stated if untold in stated.asked
        }
        assert other in led_in.dialogues
        assert cued in led_in.cued
    told, asked = Rows.of_users([user.turns for user in users]), [user.asked[0] for user in users]
    with torch.no_grad():
        found = pointed(twin, told, asked, torch.arange(3), level=0.2, idle=idle).idle
        # Each user's memory is its own: with the others' questions away, the same is heard.
        alone = [pointed(twin, told, asked, torch.arange(3), level=0.2, idle=_only(idle, n)).idle for n in range(3)]
    assert found is not None
    assert torch.allclose(found, torch.cat([one for one in alone if one is not None]), atol=SINGLE)
    # Answers up to the end of their value, other replies where they begin.
    lengths = [t.value[1] - t.prompt if t.value else OPENING for some in idle for t in some]
    assert len(found) == sum(lengths)
    assert ((found >= 0.0) & (found < 1.0)).all()
    # And where a value has ended, if that is asked.
    ended = pointed(twin, told, asked, torch.arange(3), level=0.2, idle=idle, ends=True).idle
    assert ended is not None
    assert torch.equal(ended[: len(found)], found)
    assert len(ended) == len(found) + len(asked)
    assert pointed(twin, told, asked, torch.arange(3), level=0.2).idle is None


def _only(idle: list[list[Any]], number: int) -> list[list[Any]]:
    return [some if n == number else [] for n, some in enumerate(idle)]


def test_without_slots_a_question_attends_to_what_was_said(halves_and_book: Any) -> None:
    halves, book = halves_and_book
    lessons = Lessons(facts=(1,), between=(0,), noise=0.0)
    torch.manual_seed(0)
    memory = new_memory(MEMORY, lessons, halves, ordinary_states(book))
    twin, led_in = twin_of(memory), twin_reads(book, memory)
    (user,) = sample_users(led_in, lessons, 1, Random(2))
    _, point = contrasting_step(twin, led_in, lessons, 1, Random(2))
    with torch.no_grad():
        keys = torch.cat([queries_of(twin, turn.hidden.float())[:, -1] for turn in user.turns])
        weighs = torch.cat([twin.look(turn.hidden.float()[None]).weighs[0] for turn in user.turns])
        said = torch.cat([turn.tokens for turn in user.turns])
        chances = []
        for text in user.asked:
            assert text.value is not None
            for at in range(*text.value):
                similar = twin.log_temperature.exp() * (keys @ queries_of(twin, text.hidden.float())[at - 1, 0])
                shares = weighs * similar.exp()
                chances.append(shares[said == text.tokens[at]].sum() / shares.sum())
    assert point()["chance"] == pytest.approx(torch.stack(chances).mean().item(), abs=1e-3)
    twin.log_temperature.data.zero_()
    lay_slots(twin, led_in, 0)
    assert twin.log_temperature.exp().item() == pytest.approx(MEMORY.temperature)
    assert torch.allclose(twin.addresses.norm(dim=-1), torch.ones(2, MEMORY.num_slots), atol=1e-3)
    assert not torch.allclose(twin.addresses[0], twin.addresses[1])


def cast_to(width: int, config: MemoryConfig) -> Any:
    """Return a memory that writes its observations unturned."""
    memory = LateralMemory(config).eval()
    with torch.no_grad():
        memory.maps.copy_(torch.eye(width).expand_as(memory.maps))
        assert memory.observation is not None
        memory.observation.copy_(torch.eye(width))
    return memory


def wide(rows: Rows) -> Rows:
    return Rows(rows.tokens, torch.nn.functional.pad(rows.hidden, (0, LETTERS - rows.hidden.shape[-1])), rows.mask)


def wide_text(text: Any) -> Any:
    hidden = torch.nn.functional.pad(text.hidden.float(), (0, LETTERS - text.hidden.shape[-1]))
    return replace(text, hidden=hidden)


def test_a_run_measures_all_that_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm, "load_smollm", lambda folder, dtype: (tiny(), Tokenizer()))
    monkeypatch.setattr(
        smollm,
        "ASKED",
        {name: replace(kind, num_stated=30, num_chatter=4, num_rules=4) for name, kind in smollm.ASKED.items()},
    )
    monkeypatch.setattr(smollm, "NUM_FACTS", (1, 4))
    monkeypatch.setattr(smollm, "IN_CONTEXT", 2)
    monkeypatch.setattr(smollm, "PIECE", 16)
    monkeypatch.setattr(smollm, "PIECES", 2)
    steps = TrainingConfig(num_steps=2, batch_size=2, log_every=1, checkpoint_every=1)
    for arm in (MAIN, CUED, ALONE):
        tiny_run = replace(
            cell(arm, 1),
            layer=1,
            memory=MEMORY,
            book=replace(BOOK, cue=CUE if arm == CUED else ""),
            lessons=Lessons(facts=(1, 4), between=(0, 2), level=0.1, tact=1.0, ending=arm == CUED),
            contrasting=steps,
            pointing=steps,
            training=steps,
            num_users=4,
            marks=(0, 1, 100),
        )
        append_record(tmp_path, found := smollm.run(tiny_run, tmp_path))
        # What a cue was taught for is measured with it, too.
        for condition in OUT_OF_PLACE if arm == CUED else ():
            begun = found.get("begun", domain=ASTRAY_WITH_CUE, condition=condition)
            assert begun is not None
            assert 0.0 <= begun <= 1.0
    report = read_report(tmp_path)
    # What compares with other memories needs runs of those.
    missing = [verdict.id for verdict in report.verdicts if not verdict.per_seed]
    assert [name for name in missing if not name.startswith(("smollm-lateral-", "smollm-tact-"))] == [
        f"smollm-{name}-tactful" for name in ("intrusion", "untold", "unchanged")
    ]
    assert len(report.verdicts) == len(layout_of("smollm").claims)


def test_ordinary_text_is_what_the_model_writes_by_itself_in_pieces(halves_and_book: Any) -> None:
    halves, book = halves_and_book
    assert [len(text.tokens) for text in book.ordinary] == [PIECE] * BOOK.num_ordinary
    assert {text.value for text in book.ordinary} == {None}
    assert set(book.others) >= set(book.ordinary)
    first = halves.written(3, 5, 0)
    assert [len(text) for text in first] == [5, 5, 5]
    assert halves.written(3, 5, 0) == first != halves.written(3, 5, 1)


def test_dialogues_are_what_the_model_asks_itself_from_a_first_word_and_answers(halves_and_book: Any) -> None:
    halves, book = halves_and_book
    assert len(book.dialogues) == BOOK.num_dialogues
    assert set(book.others) >= set(book.dialogues)
    for text, opening in zip(book.dialogues, OPENINGS, strict=False):
        assert text.said.said.startswith(opening)
        assert (text.value, text.said.kind) == (None, "chatter")
    again = halves.conversed(BOOK.num_dialogues, Tokenizer(), BOOK.seed)
    assert again == [text.said for text in book.dialogues] != halves.conversed(BOOK.num_dialogues, Tokenizer(), 1)


def test_a_cue_stands_behind_turns_of_all_kinds_and_answers_nothing(halves_and_book: Any) -> None:
    _, book = halves_and_book
    turns = (*book.dialogues, *book.chatter, *book.rules, *(one.told for one in book.stated))
    assert [text.said.said for text in book.cued] == [text.said.said for text in turns]
    for text, turn in zip(book.cued, turns, strict=True):
        assert (text.said.answer, text.value, text.prompt) == (CUE, None, turn.prompt)
        assert text.tokens.tolist() == [*turn.tokens[: turn.prompt].tolist(), *map(ord, CUE)]
    assert not set(book.others) & set(book.cued)


def test_replies_begin_with_the_cue_where_the_memory_is_loud_behind_it_whoever_is_beside(halves_and_book: Any) -> None:
    halves, book = halves_and_book
    memories = attach(tiny(), layers=1, config=MEMORY, warn_outside_session=False)
    (name,) = memories
    users = [sample_told(book, 2, [], Random(seed)) for seed in range(4)]
    memory = new_memory(MEMORY, Lessons(), halves, ordinary_states(book)).eval()
    memories[name].load_state_dict(memory.state_dict())
    with torch.no_grad():
        state = written(memory, halves, Rows.of_users([user.turns for user in users]))
    prompts = [user.asked[0].tokens[: user.asked[0].prompt].tolist() for user in users]
    tokens = tuple(map(ord, CUE))
    loudness = []
    for row, prompt in enumerate(prompts):
        with memories.session() as session:
            session.replace({name: state[row : row + 1]})
            loudness.append(session.loudness(torch.tensor([[*prompt, *tokens]])).item())
    cue = Cue(tokens=tokens, loudness=sum(sorted(loudness)[1:3]) / 2, end=ord("."))
    begun = begins_with(memories, prompts, state, cue).tolist()
    assert begun == [one >= cue.loudness for one in loudness]
    assert set(begun) == {True, False}
    alone = replies_alone(tiny(), Tokenizer(), prompts)
    found, loud = replies_with_cue(memories, Tokenizer(), prompts, state, cue, alone)
    assert loud.tolist() == begun
    with memories.session() as session, session.muted(cue.loudness):
        session.replace({name: state})
        ends = cue.ends(session, [END])
        begun_so = [[*prompt, *tokens] for prompt in prompts]
        heard = [reply.lower() for reply in replies_of(memories.model, Tokenizer(), begun_so, REPLY, **ends)]
    wanted = [CUE.lower() + said if at else other for at, said, other in zip(begun, heard, alone, strict=True)]
    assert found == wanted


@pytest.mark.parametrize(("loudness", "as_if"), [(1e-9, "memory"), (1e9, "reset")])
def test_a_long_conversation_is_asked_about_with_the_memory_where_it_is_loud(loudness: float, as_if: str) -> None:
    memories = attach(tiny(), layers=1, config=MEMORY, warn_outside_session=False)
    (name,) = memories
    torch.nn.init.normal_(memories[name].output.weight, std=0.3)
    memories.cue = Cue(tokens=tuple(map(ord, CUE)), loudness=loudness, end=ord("."))
    question = Question(text="Where does Ann live?", answer="Porto", session=0, category=4)
    sessions = ((("Ann", "I live in Porto."), ("Bob", "I see.")), (("Ann", "Good morning."),))
    other = LongConversation(sessions=sessions[1:], questions=(question,))
    long = LongConversation(sessions=sessions, questions=(question, question))
    values = forgetting_curve(memories, Tokenizer(), [long, other], random=Random(0))
    found = {(row["measure"], row["condition"], row["after"]): row["value"] for row in values}
    assert [found["questions", "memory", lag] for lag in (1, 2)] == [3.0, 2.0]
    for lag in (1, 2):
        assert found["begun", WITH_CUE, lag] == float(as_if == "memory")
        assert found["nats", WITH_CUE, lag] == found["nats", as_if, lag]
        assert found["nats", "memory", lag] != found["nats", "reset", lag]


def test_more_facts_than_a_book_states_are_refused(halves_and_book: Any) -> None:
    with pytest.raises(ValueError, match="a user of 21 facts was asked for, and the book states"):
        sample_told(halves_and_book[1], 21, [], Random(0))


def test_every_cell_has_a_run_of_its_own() -> None:
    runs = configs([1, 2, 3])
    assert len({run.name for run in runs}) == len(runs)
    assert [run.arm for run in runs].count(MAIN) == 3
