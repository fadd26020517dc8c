"""How a memory in a frozen model learns: first to point at the answers, then to make the model say them.

Before there are slots, a question can be taught to find the token that was said, by what both ask for; slots are then
laid where such queries gather. Pointing through slots (``pointing``) needs no model either, and no more of the hidden
states than what leads into the memory: the chance of the right token is what is learned. It is quick, since nothing of
the model above the memory runs, and indifferent to what the words are. Ours.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from callosal.lab.studies.smollm.lessons import Lessons
from callosal.lab.studies.smollm.pointing import decided, pointed
from callosal.lab.studies.smollm.texts import END, Book, Halves, Rows, Stated, Text, Told, sample_told
from callosal.memory import LateralMemory, MemoryConfig, MemoryState, calibrate
from callosal.ops.address import lagged_queries, rms_norm
from callosal.ops.salience import gate
from callosal.ops.whitening import centres
from callosal.training.loop import Step


def new_memory(
    config: MemoryConfig, lessons: Lessons, halves: Halves, hidden: Float[Tensor, "token width"]
) -> LateralMemory:
    """Return a memory that is calibrated on hidden states, and that spells what it holds.

    An embedding goes in by a code of the vocabulary and comes out as what the model's head takes for that word, larger
    than the hidden states: so what is found is said, before anything is learned. One direction of a slot is silent, and
    there lies all that a blank memory holds.
    """
    memory = LateralMemory(config)
    calibrate(memory, hidden)
    assert memory.observation is not None
    code = config.slot_width - 1
    inward, outward = vocabulary_code(halves.embedding.detach().float(), code)
    with torch.no_grad():
        if config.embedded:
            memory.observation.zero_()
            memory.observation[:, :code] = lessons.spelling * inward
        memory.prototypes.zero_()
        memory.prototypes[..., code] = math.sqrt(config.slot_width)
        if config.normalised == "retrieved":
            memory.prototypes.mul_(lessons.blank * lessons.spelling * config.write_scale)
        memory.maps.copy_(config.write_scale * torch.eye(config.slot_width).expand_as(memory.maps))
        if memory.salience_gate is not None:
            memory.salience_gate.bias.fill_(math.log(lessons.salience / (1.0 - lessons.salience)))
        memory.output.weight.zero_()
        outward = outward / halves.above.norm.weight.detach().float()[:, None]
        size = (hidden - hidden.mean(0)).square().sum(-1).mean().sqrt() / outward.norm()
        memory.output.weight[:, :code] = lessons.loudness * size * outward
    return memory


def vocabulary_code(
    words: Float[Tensor, "word width"], size: int
) -> tuple[Float[Tensor, "width size"], Float[Tensor, "width size"]]:
    """Return maps from embeddings into a few directions and back, by which words are told from each other best.

    Both go by the principal directions of the embeddings at root-mean-square one, the mean left out, spread evenly.
    With 128 of 576 each of 365 tokens of SmolLM2's is then nearest to itself among all 49,152; by the plain principal
    components 14 % are, since all embeddings share a large mean.
    """
    seen = rms_norm(words)
    mean = seen.mean(0)
    apart = seen - mean
    apart = apart - torch.outer(apart @ mean, mean) / mean.square().sum()
    spread, directions = torch.linalg.eigh(apart.T @ apart / len(apart))
    code = directions[:, -size:] * (spread[-size:].mean() / spread[-size:]).sqrt()
    without_mean = torch.eye(len(mean)) - torch.outer(mean, mean) / mean.square().sum()
    return without_mean @ code, code


def ordinary_states(book: Book) -> Float[Tensor, "token width"]:
    """Return hidden states to calibrate on; the first of a text is an attention sink of huge norm, and left out."""
    texts = (*(one.told for one in book.stated), *book.chatter, *book.rules)
    return torch.cat([text.hidden[1:].float() for text in texts])


def twin_of(memory: LateralMemory) -> LateralMemory:
    """Return a memory that starts where this one does, for states that have been led in already, or whitened alone."""
    config = replace(memory.config, calibrated=False, observe=False, embedded=False)
    if config.gates == "narrowed":
        config = replace(config, width=config.slot_width, inner_width=None)
    twin = LateralMemory(config)
    adopt(twin, memory)
    return twin


def adopt(memory: LateralMemory, twin: LateralMemory) -> None:
    """Take over what a twin has learned: all that lies between what leads in and what leads out."""
    own, other = memory.state_dict(), twin.state_dict()
    shared = {name: other[name] for name in own if name in other and name != "output.weight"}
    memory.load_state_dict(own | shared)


@torch.no_grad()
def twin_reads(book: Book, memory: LateralMemory) -> Book:
    """Return the book with hidden states as the memory's twin takes them.

    They are led in, where the way in is not learned; whitened where it is, since all of them are seen.
    """

    def text(one: Text) -> Text:
        if memory.config.gates == "narrowed":
            return replace(one, hidden=memory.led_in(one.hidden.float()))
        return replace(one, hidden=memory.whitened(one.hidden.float()).to(one.hidden.dtype))

    stated = tuple(Stated(s.facts, text(s.told), tuple(map(text, s.asked))) for s in book.stated)
    kinds = (book.chatter, book.rules, book.ordinary, book.dialogues, book.cued)
    return Book(stated, *(tuple(map(text, kind)) for kind in kinds))


def sample_users(book: Book, lessons: Lessons, number: int, random: Random) -> list[Told]:
    """Draw the users of a step, all of as many facts."""
    num_facts, num_between = random.choice(lessons.facts), random.choice(lessons.between)
    others = book.others
    users = [
        sample_told(book, num_facts, [random.choice(others) for _ in range(num_between)], random) for _ in range(number)
    ]
    # At times another question was answered before, in a turn that writes as any does.
    if num_facts > 1 and random.random() < 0.3:
        users = [Told(u.facts, (*u.turns, u.asked[-1]), u.asked[:-1]) for u in users]
    return [Told(u.facts, u.turns, tuple(random.sample(u.asked, min(lessons.questions, len(u.asked))))) for u in users]


def out_of_place(book: Book, users: Sequence[Told], random: Random) -> list[list[Text]]:
    """Draw for each user a question about what that user never told, one about something else, a cue out of place."""
    others = [kind for kind in (book.dialogues, book.cued) if kind]
    found = []
    for user in users:
        named = {fact.attribute for fact in user.facts}
        while (stated := random.choice(book.stated)).facts[0].attribute in named:
            pass
        found.append([stated.asked[0], *map(random.choice, others)])
    return found


def contrasting_step(twin: LateralMemory, book: Book, lessons: Lessons, num_users: int, random: Random) -> Step:
    """Return the loss of questions that look for what was said without slots: of a twin.

    The query of where a token is said looks among those that all told tokens of its user are written by, each weighed
    by its salience, as attention does; minus the logarithm of the share of tokens like it.
    """
    users = sample_users(book, lessons, num_users, random)
    told, asked, owners = _blurred_users(users, lessons, random)
    rows = Rows.of(asked)
    row, at = decided(asked)
    temperature = twin.log_temperature.exp()
    weighs = told.mask.float()
    if twin.salience_gate is not None:
        weighs = weighs * gate(twin.views(told.hidden)[1], twin.salience_gate.weight[0], twin.salience_gate.bias[0])
    # Head 0 reads, the last one writes.
    keys, queries = queries_of(twin, told.hidden)[..., -1, :], queries_of(twin, rows.hidden)[row, at - 1, 0]
    chances = []
    for number in range(len(users)):
        own, there = owners[row] == number, told.mask[number]
        similar = temperature * queries[own] @ keys[number][there].T
        found = torch.softmax(similar + (weighs[number][there] + SILENT).log(), dim=-1)
        same = told.tokens[number][there] == rows.tokens[row, at][own][:, None]
        chances.append((found * same).sum(-1))
    chance = torch.cat(chances)
    loss, price = -(chance + lessons.floor).log().mean(), weighs.sum() / told.mask.sum()
    return loss + lessons.dear * price, lambda: {
        "loss": loss.item(),
        "chance": chance.mean().item(),
        "salience": price.item(),
    }


def queries_of(
    memory: LateralMemory, hidden: Float[Tensor, "*batch time width"]
) -> Float[Tensor, "*batch time head inner"]:
    """Return what each token asks for, from the start of a segment."""
    seen = memory.led_in(hidden)
    tail = memory.start.expand(*seen.shape[:-2], -1, -1)
    return lagged_queries(seen, tail, memory.filters, memory.query_map)


@torch.no_grad()
def lay_slots(twin: LateralMemory, book: Book, seed: int) -> None:
    """Put each bank's slots where the queries of a book's turns gather, and make all look as sharply as is usual."""
    texts = (text for stated in book.stated for text in (stated.told, *stated.asked))
    queries = torch.cat([queries_of(twin, text.hidden.float())[1:, 0] for text in texts])
    generator = torch.Generator().manual_seed(seed)
    for addresses in twin.addresses:
        addresses.copy_(centres(queries, len(addresses), generator=generator))
    twin.log_temperature.fill_(math.log(twin.config.temperature))


def pointing_step(twin: LateralMemory, book: Book, lessons: Lessons, num_users: int, random: Random) -> Step:
    """Return the loss of pointing at the answers' tokens, minus the logarithm of their chance: of a twin."""
    users = sample_users(book, lessons, num_users, random)
    told = Rows.of_users([user.turns for user in users])
    # For the banks' axes alone, which move by what is committed and not by the loss.
    if random.random() < lessons.adapting:
        with torch.no_grad():
            twin(told.hidden, None, told.mask)
    told, asked, owners = _blurred_users(users, lessons, random)
    often = random.choice(lessons.repeats)
    repeats = torch.ones(told.mask.shape[:2])
    for number, user in enumerate(users):
        for turn, text in enumerate(user.turns):
            repeats[number, turn] = 1.0 if text.said.kind == "facts" else often
    idle = out_of_place(book, users, random) if lessons.tact else None
    found = pointed(twin, told, asked, owners, repeats, lessons.blank, lessons.level, idle, ends=lessons.ending)
    loss = -(found.chance + lessons.floor).log().mean()
    # What is written of words that nobody asks about would be said where it does not belong.
    price = found.weighs.sum() / told.mask.sum()
    # So would whatever is read where nothing is to be answered; a gate learns where that is.
    gates = -(found.open + QUIET).log().mean() - (1.0 - found.closed + QUIET).log().mean()
    if found.idle is not None:
        gates = gates - lessons.tact * (1.0 - found.idle + QUIET).log().mean()
    return loss + lessons.price * price + lessons.silence * gates, lambda: {
        "loss": loss.item(),
        "chance": found.chance.mean().item(),
        "salience": price.item(),
        "open": found.open.mean().item(),
        "closed": found.closed.mean().item(),
    }


def blurred(text: Text, noise: float, random: Random) -> Text:
    """Return a text with noise on its states, so that wordings near those of training point alike."""
    return replace(text, hidden=text.hidden + noise * torch.randn(text.hidden.shape, generator=_generator(random)))


def _blurred_users(
    users: Sequence[Told], lessons: Lessons, random: Random
) -> tuple[Rows, list[Text], Int[Tensor, "text"]]:
    """Return what users were told, what they are asked, with noise on both, and whose each question is."""
    asked = [blurred(text, lessons.noise, random) for user in users for text in user.asked]
    told = Rows.of_users([user.turns for user in users])
    noise = lessons.noise * torch.randn(told.hidden.shape, generator=_generator(random))
    owners = torch.tensor([number for number, user in enumerate(users) for _ in user.asked])
    return replace(told, hidden=told.hidden + noise), asked, owners


def _generator(random: Random) -> torch.Generator:
    return torch.Generator().manual_seed(random.getrandbits(63))


def speaking_step(
    memory: LateralMemory, halves: Halves, book: Book, lessons: Lessons, num_users: int, random: Random
) -> Step:
    """Return the loss of the answers as the model says them, and of what it should say as it did without a memory."""
    users = sample_users(book, lessons, num_users, random)
    state = written(memory, halves, Rows.of_users([user.turns for user in users]))
    asked = [text for user in users for text in user.asked]
    owners = torch.tensor([number for number, user in enumerate(users) for _ in user.asked])
    logits, targets, _ = answered(memory, halves, asked, state[owners])
    loss = cross_entropy(logits, targets)
    kinds = [book.chatter, book.rules, tuple(one.told for one in book.stated)]
    kinds += [kind for kind in (book.ordinary, book.dialogues, book.cued) if kind]
    others = Rows.of([random.choice(random.choice(kinds)) for _ in users])
    some = torch.tensor([random.random() < lessons.held for _ in range(others.mask.numel())]).view_as(others.mask)
    some &= others.mask
    some[:, 0] = False
    with torch.no_grad():
        alone = log_softmax(halves.logits(halves.upper(others.hidden)[some]), dim=-1)
    final = halves.upper(others.hidden + read(memory, halves, others, state))
    changed = log_softmax(halves.logits(final[some]), dim=-1)
    drift = (alone.exp() * (alone - changed)).sum(-1).mean()
    return loss + lessons.hold * drift, lambda: {"loss": loss.item(), "drift": drift.item()}


def written(memory: LateralMemory, halves: Halves, told: Rows, state: MemoryState | None = None) -> MemoryState:
    """Return the memory after sessions: rows of turns [user, turn, time]."""
    return memory(told.hidden, state, told.mask, embedded=halves.embedding[told.tokens].float())[1]


def read(memory: LateralMemory, halves: Halves, rows: Rows, state: MemoryState) -> Float[Tensor, "row time width"]:
    """Return what each row reads of its own memory."""
    embedded = halves.embedding[rows.tokens].float()
    return memory(rows.hidden, state, rows.mask, embedded=embedded, commit=False)[0]


def answered(
    memory: LateralMemory | None, halves: Halves, asked: Sequence[Text], state: Any
) -> tuple[Float[Tensor, "token word"], Int[Tensor, "token"], Int[Tensor, "token"]]:
    """Return logits, what is right, and of which text, for every token of the answers, their ends included.

    Without a memory the model answers alone.
    """
    rows = Rows.of(asked)
    hidden = rows.hidden if memory is None else rows.hidden + read(memory, halves, rows, state)
    final = halves.upper(hidden)
    lengths = [len(text.tokens) for text in asked]
    logits = halves.logits(torch.cat([final[n, text.prompt - 1 : lengths[n]] for n, text in enumerate(asked)]))
    end = torch.tensor([END])
    targets = torch.cat([torch.cat([text.tokens[text.prompt :], end]) for text in asked])
    counts = torch.tensor([lengths[n] - text.prompt + 1 for n, text in enumerate(asked)])
    return logits, targets, torch.arange(len(asked)).repeat_interleave(counts)


# A gate that is wholly on the wrong side costs minus the logarithm of this.
QUIET = 0.01
# The logarithm of a token's salience stays finite.
SILENT = 1e-6
