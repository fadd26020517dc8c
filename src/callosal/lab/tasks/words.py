"""The words of the persona task: what users say of themselves, what they chat about, what they spell."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """Something that a user can state and ask about.

    Attributes:
        statements: ways to state it, with ``{}`` where the value stands.
        question: the one question about it.
        values: what it can be, each one word.
    """

    statements: tuple[str, ...]
    question: str
    values: tuple[str, ...]


NAMES = tuple(
    "ada ben carla david elena farid greta hugo irene jonas keiko liam "
    "mara nadia oscar priya quentin rosa samir tilda umberto vera wanda yusuf".split()
)
PLACES = tuple(
    "oslo lima cairo kyoto porto boston nairobi vienna quito dublin seoul madrid "
    "accra tunis perth havana riga lagos bergen milan delhi sofia zagreb geneva".split()
)
FOODS = tuple(
    "soup rice pasta bread cheese curry salad pizza beans noodles olives apples "
    "plums honey cake mushrooms lentils tofu grapes yoghurt cherries dumplings figs pancakes".split()
)
JOBS = tuple(
    "baker nurse pilot teacher farmer painter lawyer plumber singer tailor judge chemist "
    "gardener librarian carpenter dentist translator waiter butcher sailor clerk miner florist smith".split()
)
ANIMALS = tuple(
    "dog cat horse parrot rabbit turtle hamster goat duck donkey pigeon snake "
    "lizard mouse ferret goose pony canary hedgehog spider crab llama sheep frog".split()
)
INSTRUMENTS = tuple(
    "piano violin flute drums guitar trumpet harp cello organ clarinet banjo oboe "
    "lute tuba viola bassoon accordion zither fiddle horn mandolin bagpipe xylophone recorder".split()
)
NUMBERS = tuple(str(number) for number in range(10, 34))

# Name and sister draw from one list, so that a memory has to tell the two apart.
ATTRIBUTES: dict[str, Attribute] = {
    "name": Attribute(("my name is {} .", "i am called {} ."), "what is my name ?", NAMES),
    "sister": Attribute(("my sister is {} .", "i have a sister called {} ."), "who is my sister ?", NAMES),
    "place": Attribute(("i live in {} .", "my home is in {} ."), "where do i live ?", PLACES),
    "job": Attribute(("i work as a {} .", "my job is that of a {} ."), "what is my job ?", JOBS),
    "number": Attribute(("my lucky number is {} .", "the number i like is {} ."), "which number do i like ?", NUMBERS),
    "food": Attribute(("i love to eat {} .", "my favourite food is {} ."), "what do i love to eat ?", FOODS),
    "animal": Attribute(("at home i keep a {} .", "my pet is a {} ."), "which animal do i keep ?", ANIMALS),
    "instrument": Attribute(("i play the {} .", "my instrument is the {} ."), "what do i play ?", INSTRUMENTS),
}

# Chatter is {who} {did} {when}, in words that no fact uses.
CHATTER = (
    ("the train", "the bus", "the neighbour", "the weather", "the market", "the film", "the game"),
    ("was late", "was loud", "was fine", "came early", "made us laugh", "took hours", "went well"),
    ("today", "yesterday", "last week", "this morning", "again", "as always", "for once"),
)

SPELLED = tuple(
    "river stone cloud table window garden bottle candle mirror button ladder pencil "
    "basket hammer pillow forest island bridge castle desert".split()
)
# Counting goes no higher than a number that can be stated, so that no token alone tells the domains apart.
HIGHEST = 33
