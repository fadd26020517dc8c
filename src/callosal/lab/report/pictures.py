"""A figure before and after it is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from callosal.lab.report.drawing import drawing_style, to_png
from callosal.lab.report.study import Study


@dataclass(frozen=True, kw_only=True)
class FigureKind:
    """A figure that a report may hold.

    Attributes:
        name: of its file.
        title: of its place on the page.
        caption: how to read it.
        draw: makes it; None where the study does not have what it shows.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Study], Figure | None]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure that was drawn.

    Attributes:
        kind: which.
        png: its bytes.
    """

    kind: FigureKind
    png: bytes


def draw_pictures(study: Study, kinds: Sequence[FigureKind]) -> list[Picture]:
    """Draw every figure that the study has the runs for."""
    pictures = []
    with drawing_style():
        for kind in kinds:
            figure = kind.draw(study) if study.records else None
            if figure is not None:
                pictures.append(Picture(kind=kind, png=to_png(figure)))
    return pictures
