"""From what a run measures to tidy values, and from records of earlier versions to those of this one.

A value is a row: ``measure``, ``value``, and the keys that say which of its kind it is. Here alone is decided what
they are called; the runner and the reader of old records both come through here.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Rows = Iterator[dict[str, Any]]
Plain = Mapping[str, Any]

# What the runs of a study may differ in, and where it stands in a configuration.
FACTORS = {
    "sign": "memory.sign",
    "gain": "memory.gain",
    "drive": "memory.drive",
    "homeostasis": "memory.homeostasis",
    "learn_crosstalk": "memory.learn_crosstalk",
    "context": "memory.context",
    "carry": "memory.carry",
    "num_banks": "memory.num_banks",
    "num_slots": "memory.num_slots",
    "num_letters": "episodes.num_letters",
    "pairs_per_segment": "episodes.pairs_per_segment",
    "num_steps": "training.num_steps",
    "learning_rate": "training.learning_rate",
    "layers": "layers",
    "base_model": "host.kind",
}
# Fields that a configuration does not name while they are at their default.
DEFAULTS = {"context": "segment", "carry": 0.0}
BENCHMARK_DOMAINS = ("cipher", "arithmetic")
# The turns of a conversation, in the order in which shares of a bank are measured.
TURNS = ("stating", "asking", "rule")
_FIELDS = ("fingerprint", "recipe", "arm", "seed", "changed", "config", "num_parameters")
_RENAMED = {"cipher_loss": "episodic_loss", "arithmetic_loss": "rule_loss"}


def factors_of(config: Plain) -> dict[str, Any]:
    """Return the factors that a configuration, as plain values, has."""
    found = {}
    for name, path in FACTORS.items():
        value: Any = config
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None and name in DEFAULTS and config.get("memory"):
            value = DEFAULTS[name]
        if value is not None:
            found[name] = value
    return found


def domain_names(config: Plain) -> list[str]:
    """Return a name for each domain of a run on episodes; those of one kind are numbered."""
    kinds = config["episodes"].get("domains") or BENCHMARK_DOMAINS
    counts, seen = Counter(kinds), Counter()
    names = []
    for kind in kinds:
        seen[kind] += 1
        names.append(f"{kind} {seen[kind]}" if counts[kind] > 1 else kind)
    return names


def evaluation_values(evaluation: Plain, domains: Sequence[str]) -> Rows:
    """Give what :class:`~callosal.lab.measures.evaluation.Evaluation` holds."""
    for kind in ("episodic", "rule"):
        yield {"measure": "loss", "domain": kind, "value": evaluation[f"{kind}_loss"]}
        yield {"measure": "accuracy", "domain": kind, "value": evaluation[f"{kind}_accuracy"]}
    for measure, key in (("loss", "losses"), ("accuracy", "accuracies")):
        for domain, value in zip(domains, evaluation.get(key, ()), strict=False):
            yield {"measure": measure, "domain": domain, "value": value}
    if evaluation["specialization"] is not None:
        yield from bank_values(evaluation["specialization"], domains)


def bank_values(measures: Plain, domains: Sequence[str], **where: Any) -> Rows:
    """Give what :class:`~callosal.lab.measures.specialization.Specialization` holds."""
    for domain, shares in zip(domains, measures["shares"], strict=True):
        for bank, value in enumerate(shares):
            yield {"measure": "share", "domain": domain, "bank": bank, "value": value} | where
    for domain, value in zip(domains, measures["separation"], strict=True):
        yield {"measure": "D_sep", "domain": domain, "value": value} | where
    names = {"P_ct": "cross_talk", "dominance": "dominance", "information": "information"}
    for measure, key in names.items():
        yield {"measure": measure, "value": measures[key]} | where


def retention_values(retention: Plain, condition: str | None = None) -> Rows:
    """Give what :class:`~callosal.lab.measures.retention.Retention` holds, with what was in between."""
    where = {} if condition is None else {"condition": condition}
    for after, recall, loss in zip(retention["distractors"], retention["recall"], retention["loss"], strict=True):
        yield {"measure": "recall", "after": after, "value": recall} | where
        yield {"measure": "recall loss", "after": after, "value": loss} | where


def intervention_values(found: Plain, domains: Sequence[str]) -> Rows:
    """Give what :class:`~callosal.lab.measures.interventions.Interventions` holds."""
    conditions = [("intact", None, found["warm"]), ("reset", None, found["fresh"])]
    conditions += [("unwritten", None, found["frozen"])]
    conditions += [("zeroed", bank, values) for bank, values in enumerate(found["lesioned"])]
    conditions += [("silenced", bank, values) for bank, values in enumerate(found["silenced"])]
    for condition, bank, values in conditions:
        where = {"condition": condition} | ({} if bank is None else {"bank": bank})
        for domain, value in zip(domains, values, strict=True):
            yield {"measure": "accuracy", "domain": domain, "value": value} | where
    swaps = [({}, found["swapped"])]
    swaps += [({"bank": bank}, values) for bank, values in enumerate(found["swapped_banks"])]
    for of_bank, (own, other) in swaps:
        where = {"condition": "swapped"} | of_bank
        yield {"measure": "own answers", "value": own} | where
        yield {"measure": "neighbour's answers", "value": other} | where


def answer_values(answers: Plain) -> Rows:
    """Give what :class:`~callosal.lab.measures.answers.Answers` holds."""
    conditions = {
        "no memory": ("no_memory", "rule_before"),
        "memory": ("memory", "rule"),
        "reset": ("reset", None),
        "another user's": ("others", None),
        "in context": ("in_context", None),
    }
    for condition, keys in conditions.items():
        for domain, key in zip(("facts", "rules"), keys, strict=True):
            if key is not None:
                where = {"domain": domain, "condition": condition}
                yield {"measure": "accuracy", **where, "value": answers[key]}
    yield {"measure": "other user's answers", "value": answers["as_others"]}
    for bank, values in enumerate(answers["lesioned"]):
        for domain, value in zip(("facts", "rules"), values, strict=True):
            where = {"domain": domain, "condition": "zeroed", "bank": bank}
            yield {"measure": "accuracy", **where, "value": value}
    for place, measures in enumerate(answers["specialization"]):
        yield from bank_values(measures, ("facts", "rules"), place=place)
    for place, shares in enumerate(answers["shares"]):
        for turn, value in zip(TURNS, shares, strict=True):
            yield {"measure": "share of turns", "domain": turn, "place": place, "value": value}
    for fact, values in answers["by_attribute"].items():
        for condition, value in zip(("memory", "in context"), values, strict=True):
            where = {"domain": "facts", "condition": condition, "fact": fact}
            yield {"measure": "accuracy", **where, "value": value}


def single_values(**numbers: float | None) -> Rows:
    """Give numbers that no other key tells apart; a size without bound (None) is infinite."""
    for measure, value in numbers.items():
        yield {"measure": measure, "value": math.inf if value is None else value}


def upgrade(content: Any) -> dict[str, Any]:
    """Return a record of any version as the fields of the newest; one of the newest is handed on.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no record.
    """
    if "values" in content:
        return content
    config, probes = content["config"], content.get("probes", {})
    is_persona = "host" in config
    labels = {}
    if content["recipe"] == "rates":
        # Earlier versions kept the memory's name in that of the cell alone.
        labels = {"memory": content["arm"].rpartition(" at ")[0]}
    extras = {"snapshot": content["snapshot"]} if content["snapshot"] is not None else {}
    if "pretraining" in probes:
        extras["pretraining"] = probes["pretraining"]
    return {
        **{name: content[name] for name in _FIELDS},
        "factors": factors_of(config) | labels,
        "values": list(_old_persona(content) if is_persona else _old_episodes(content)),
        "curve": [{_RENAMED.get(key, key): value for key, value in point.items()} for point in content["curve"]],
        "extras": extras,
        "wall_seconds": content["wall_seconds"],
        "versions": content["versions"],
    }


def _old_episodes(content: Plain) -> Rows:
    old, names = content["evaluation"], domain_names(content["config"])
    kinds = {
        "episodic_loss": old["cipher_loss"],
        "rule_loss": old["arithmetic_loss"],
        "episodic_accuracy": old["cipher_recall"],
        "rule_accuracy": old["arithmetic_accuracy"],
    }
    yield from evaluation_values(old | kinds, names)
    yield from retention_values(content["retention"])
    probes = dict(content.get("probes", {}))
    interventions = probes.pop("interventions", None)
    if interventions is not None:
        yield from intervention_values(interventions, names)
    yield from single_values(**probes)


def _old_persona(content: Plain) -> Rows:
    probes = content["probes"]
    yield from answer_values(content["evaluation"])
    yield from retention_values(content["retention"], "rules")
    yield from retention_values(probes["after_chatter"], "chatter")
    kept = ("train_seconds", "state_floats", "vocabulary", "chance")
    yield from single_values(**{name: probes[name] for name in kept})
    yield from single_values(base_parameters=probes["host_parameters"])
    yield from coupling_values(probes["coupling"])


def coupling_values(couplings: Sequence[Sequence[Sequence[float]]]) -> Rows:
    """Give by how much each W_s tells two banks apart: its differential mode, 1 - s at the start."""
    for place, w in enumerate(couplings):
        if len(w) == 2:
            value = (w[0][0] - w[0][1] - w[1][0] + w[1][1]) / 2
            yield {"measure": "differential mode", "place": place, "value": value}
