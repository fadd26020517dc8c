"""The table of families: what is recorded, in words."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MARKS = re.compile(r"(<!-- families -->\n).*?(<!-- end of table -->)", flags=re.DOTALL)

# What can be said of a family, best first, and what that means.
VERDICTS = {
    "right": "right in all that was tried",
    "right where the model can": "right in all that the model itself can do",
    "right or refused": "right, or refused by an error that says why",
    "refused": "refused by `attach`, by an error that says why",
    "not tried": "not built, or its call fails with the inputs tried: nothing is known",
    "wrong": "wrong, without an error",
}


def verdict(entry: Mapping[str, Any]) -> str:
    """Return what can be said of a recorded family: one of ``VERDICTS``."""
    kinds = {found.partition(":")[0].partition(";")[0] for found in entry["checks"].values()}
    if not entry["layers"]:
        return "refused" if kinds == {"refused"} else "not tried"
    order = {"wrong": "wrong", "refused": "right or refused", "model": "right where the model can"}
    return next((word for kind, word in order.items() if kind in kinds), "right")


def rendered(recorded: Mapping[str, Any]) -> str:
    """Return how many families there are of each verdict, a table of all, and the reasons they refer to."""
    entries: Sequence[Mapping[str, Any]] = recorded["families"]
    counts = {word: sum(verdict(entry) == word for entry in entries) for word in VERDICTS}
    lines = [
        f"transformers {recorded['transformers']}, torch {recorded['torch']}: {len(entries)} models.",
        "",
        "| Verdict | Models | Meaning |",
        "| --- | --- | --- |",
        *(f"| {word} | {counts[word]} | {meaning} |" for word, meaning in VERDICTS.items()),
        "",
        "| Family | Model | Verdict | Except |",
        "| --- | --- | --- | --- |",
    ]
    reasons: dict[str, int] = {}
    for entry in entries:
        checks = {name: _plain(found, entry["model"]) for name, found in entry["checks"].items()}
        except_ = "; ".join(_exceptions(checks, reasons))
        lines.append(f"| {entry['family']} | {entry['model']} | {verdict(entry)} | {except_} |")
    lines += ["", *(f"{number}. {reason}" for reason, number in reasons.items()), ""]
    return "\n".join(lines)


def filled(page: str, recorded: Mapping[str, Any]) -> str:
    """Return a page with the table between its marks."""
    return MARKS.sub(lambda found: f"{found[1]}{rendered(recorded)}{found[2]}", page)


def _plain(found: str, model: str) -> str:
    """Leave names out, so that families with one reason share it."""
    return re.sub(r"layer '[^']+'", "a layer", found.replace(model, "this model")).replace("\n", " ")


def _exceptions(checks: Mapping[str, str], reasons: dict[str, int]) -> Iterable[str]:
    """Say which checks found something else than right, those with one reason together."""
    together: dict[str, list[str]] = {}
    for name, found in checks.items():
        if found != "right":
            together.setdefault(found.replace("right; ", ""), []).append(name)
    for found, names in together.items():
        if found.startswith("the model contradicts itself"):
            yield f"{', '.join(names)}: {found}"
        else:
            number = reasons.setdefault(found, len(reasons) + 1)
            yield f"{', '.join(names)}: {found.partition(':')[0]} ({number})"
