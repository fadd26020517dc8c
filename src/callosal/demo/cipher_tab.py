"""The tab with the lesson in a cipher: what was recalled, and which bank took what."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from callosal.demo import views
from callosal.demo.cipher import NUM_CIPHERS, Lesson, Segment, Student, train_student
from callosal.memory.inspection import slot_norms


def make_cipher_tab(gr: Any, page: Any, student: Student | None, folder: Path) -> None:
    """Make the tab, inside a page of gradio's.

    Args:
        gr: gradio.
        page: that the tab stands on.
        student: that learns; None offers to train one.
        folder: where one that is trained here is kept.
    """
    # Of this page, whoever looks at it: it is trained once.
    school = {"student": student}
    gr.Markdown(
        "A small model is told what each letter stands for, once or twice. Then come segments of arithmetic, each of "
        "which is written too, and then it is asked for every letter. Nothing but its memory crosses a segment."
    )
    number = gr.State(0)
    with gr.Column(visible=student is None) as untrained:
        gr.Markdown(f"There is no trained model yet. It is kept in `{folder}`, and is there the next time.")
        start = gr.Button("Train a small model (about a minute)", variant="primary", elem_id="train")
        progress = gr.HTML(elem_id="progress", min_height=60)
    with gr.Column(visible=student is not None) as trained:
        with gr.Row(equal_height=False):
            most = student.most_distractors if student else 300
            distractors = gr.Slider(
                0, max(most, 1), value=0, step=1, label="Segments between telling and asking", elem_id="distractors",
                min_width=260, scale=3, visible=most > 0,
            )  # fmt: skip
            banks = views.names_of(student.memory.config.num_banks if student else 2)
            lesion = gr.CheckboxGroup(banks, label="Lesion", elem_id="cipher-lesion", min_width=200, scale=2)
            another = gr.Button("Another cipher", elem_id="another", min_width=140)
        panels = gr.HTML(elem_id="lesson")

    def taught(number: int, num_distractors: float, lesioned: list[str]) -> Any:
        known = school["student"]
        if known is None:
            return gr.skip()
        count = int(num_distractors) if known.most_distractors else 0
        return lesson_panels(known, known.lesson(number, count, lesioned), count, lesioned)

    def opened(*given: Any) -> tuple:
        known = school["student"] is not None
        return gr.Column(visible=not known), gr.Column(visible=known), taught(*given)

    def train(progress: Any = gr.Progress()) -> tuple:  # noqa: B008  (how gradio finds it)
        def say(share: float, text: str) -> None:
            progress(share, desc=text)

        if school["student"] is None:
            progress(0.0, desc="beginning")
            school["student"] = train_student(folder, say)
        return "", gr.Column(visible=False), gr.Column(visible=True), taught(0, 0, [])

    given, quiet = [number, distractors, lesion], {"api_visibility": "private", "show_progress": "minimal"}
    start.click(
        train, None, [progress, untrained, trained, panels], show_progress_on=progress, api_visibility="private"
    )
    # While a slider is drawn, what is asked last is what counts.
    gr.on([distractors.change, lesion.change], taught, given, panels, trigger_mode="always_last", **quiet)
    another.click(lambda n: n + 1, number, number, api_visibility="private").then(taught, given, panels, **quiet)
    # A window that is opened, or drawn anew, after the training.
    page.load(opened, given, [untrained, trained, panels], **quiet)


def lesson_panels(student: Student, lesson: Lesson, num_distractors: int, lesioned: Sequence[str]) -> str:
    """Return a lesson as HTML: what was recalled, which bank took what, and what the memory holds."""
    num_letters = len(lesson.letters)
    lesion = f", {' and '.join(lesioned)} lesioned" if lesioned else ""
    after = (
        f"after {num_distractors} other segment{'' if num_distractors == 1 else 's'}" if num_distractors else "at once"
    )
    big = f'<div class="cl-big">{lesson.num_right} of {num_letters} letters recalled {after}{lesion}</div>'
    answers = views.answer_table(lesson.letters, lesson.images, lesson.answers)
    chance = f"Without a memory, guessing gets {views.percent(student.chance)}. This cipher was in no training."
    retention = student.retention
    curve = views.recall_curve(
        retention.distractors,
        retention.recall,
        chance=student.chance,
        here=(num_distractors, lesson.num_right / num_letters),
        num_ciphers=NUM_CIPHERS,
    )
    num_banks = student.memory.config.num_banks
    told = "".join(_segment(segment) for segment in lesson.told)
    asked = "".join(_segment(segment) for segment in lesson.asked)
    means = "".join(views.share_bar(name, shares) for name, shares in _mean_shares(lesson))
    norms = slot_norms(lesson.state)[0]
    bound = student.memory.max_slot_norm if student.memory.config.write == "bounded" else None
    slots = views.bank_panel(norms, bound=bound, moved=lesson.moved if num_distractors else (), lesioned=lesioned)
    coupling = views.coupling_table(student.memory.coupling.detach())
    return views.columns(
        (
            views.panel("Asked back", big + answers, chance),
            views.panel("Which bank took what", views.legend(num_banks) + means),
            views.panel("How it was told", told, "A letter and what it stands for, in turn; between them a rule."),
            views.panel(
                "How it was asked", asked, "? stands where the answer would. Green ring: right; orange: wrong."
            ),
        ),
        (
            views.panel("Recall over distance", curve),
            views.panel(
                "What the memory holds when it is asked",
                slots,
                "Moved: since the telling, by the distractors." if num_distractors else "",
            ),
            views.panel("Cross-talk between the banks (Wₛ)", coupling, "Below zero inhibits, above excites."),
        ),
    )


def _segment(segment: Segment) -> str:
    strip = views.token_strip(segment.tokens, segment.shares, marks=segment.marks)
    return f'<div class="cl-segment"><span>{segment.domain}</span>{strip}</div>'


def _mean_shares(lesson: Lesson) -> Iterator[tuple[str, Float[Tensor, "bank"]]]:
    """Give the mean share of what was told of each domain, of the distractors and of the questions."""
    for domain in dict.fromkeys(segment.domain for segment in lesson.told):
        of_domain = [segment.shares for segment in lesson.told if segment.domain == domain]
        yield f"{domain}, told", torch.cat(of_domain).mean(0)
    if lesson.distraction is not None:
        yield "distractors", lesson.distraction
    yield "cipher, asked", torch.cat([segment.shares for segment in lesson.asked]).mean(0)
