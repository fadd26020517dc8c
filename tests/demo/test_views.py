"""What is shown is what was measured, and text of a user never becomes markup."""

import re
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from callosal.demo import views

SHARES = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]])


class Tags(HTMLParser):
    """Keeps the opened tags, the text, and whether every tag was closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text, self.open = "", list[str]()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.tags.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def tags(page: str) -> Tags:
    parsed = Tags(page)
    assert parsed.open == []
    return parsed


def test_a_token_is_divided_as_the_banks_divide_it() -> None:
    strip = views.token_strip(["a", "b", "c", "last"], SHARES)
    hints = re.findall(r'title="([^"]*)"', strip)
    assert hints == ["left 100 %, right 0 %", "left 25 %, right 75 %", "left 50 %, right 50 %", "not read"]
    left, right = views.colour_of(0), views.colour_of(1)
    assert f"linear-gradient(90deg,{left} 0.0% 25.0%,{right} 25.0% 100.0%)" in strip
    # The one that won all is tinted most, the one that nobody won not at all.
    tints = re.findall(r'cl-token" style="background:(#\w+)"', strip)
    assert tints == [f"{left}59", f"{right}3f", f"{left}00"]
    assert "cl-weighs" not in strip


def test_salience_is_the_length_of_a_second_bar() -> None:
    strip = views.token_strip(["a", "b", "c"], SHARES, torch.tensor([0.0, 0.333, 1.0]))
    assert re.findall(r"width:(\d+)%", strip) == ["0", "33", "100"]
    assert "weighs 0.33" in strip


def test_marks_say_what_was_right() -> None:
    strip = views.token_strip(["a", "b", "c"], SHARES, marks=[True, None, False])
    assert re.findall(r'class="cl-token( [^"]*)?"', strip) == [" cl-right", "", " cl-wrong"]


@given(st.text(max_size=12))
def test_no_text_becomes_markup(text: str) -> None:
    hostile = f"<script>{text}</script><b title='\"'>"
    strip = views.token_strip([hostile], SHARES[:1])
    for page in (
        strip,
        views.panel(hostile, strip),
        views.answer_table([hostile], [hostile], [hostile]),
        views.share_bar(hostile, SHARES[0]),
    ):
        assert not {"script", "img"} & set(tags(page).tags)
        assert "&lt;script&gt;" in page


def test_blanks_and_ends_of_lines_are_seen() -> None:
    text = tags(views.token_strip([" a", "\n", ""], SHARES)).text
    assert text == "\N{NO-BREAK SPACE}a↵∅"


@pytest.mark.parametrize("num_banks", [1, 2, 3])
def test_every_view_takes_any_number_of_banks(num_banks: int) -> None:
    shares = torch.full((2, num_banks), 1.0 / num_banks)
    names = views.names_of(num_banks)
    for page in (
        views.legend(num_banks),
        views.token_strip(["a", "b"], shares),
        views.share_bar("all", shares[0]),
        views.bank_panel(torch.rand(num_banks, 4)),
        views.coupling_table(torch.eye(num_banks)),
    ):
        tags(page)
        assert all(name in page for name in names)


def test_slots_are_counted_as_the_library_counts_them() -> None:
    norms = torch.tensor([[0.0, 0.5, 100.0], [0.0, 1.5, 1.5]])
    text = tags(views.bank_panel(norms, moved=[0.5, 0.0312], lesioned=["right"])).text
    assert (
        text
        == "left 1 of 3 slots in use · moved by 50.0 %right 2 of 3 slots in use · moved by 3.1 % · lesioned: not read"
    )
    assert "1 of 3" in views.bank_panel(norms, bound=200.0)
    blank = views.bank_panel(torch.zeros(2, 3))
    assert blank.count("0 of 3 slots in use") == 2
    assert set(re.findall(r"background:#\w{6}(\w\w)", blank)) == {"00"}


def test_the_coupling_has_its_signs() -> None:
    text = tags(views.coupling_table(torch.tensor([[1.0, -0.5], [0.0, 1.25]]))).text
    assert text == "from leftfrom rightleft+1.00\N{MINUS SIGN}0.50right+0.00+1.25"
    tags(views.coupling_table(torch.zeros(2, 2)))


def test_answers_are_right_or_wrong() -> None:
    table = views.answer_table(["A", "B"], ["B", "A"], ["B", "C"])
    assert tags(table).text.endswith("ABB ✓BAC ✗")
    assert "B is A; the model says C" in table


def test_the_curve_shows_where_we_are() -> None:
    curve = views.recall_curve([0, 1, 10], [1.0, 0.5, 0.25], chance=0.125, here=(10, 0.0), num_ciphers=4)
    tags(curve)
    (points,) = re.findall(r'points="([^"]*)"', curve)
    xs, ys = zip(*(map(float, point.split(",")) for point in points.split()), strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys)  # down the page
    ((x, y),) = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', curve)
    assert float(x) == xs[-1]
    assert float(y) > ys[-1]
    assert "mean recall of 4 other ciphers; the dot is this one: 0 % after 10" in curve
    # Without distractors there is one point.
    tags(views.recall_curve([0], [1.0], chance=0.1, here=(0, 1.0), num_ciphers=1))


def test_columns_hold_their_panels() -> None:
    page = views.columns([views.panel("a", "x"), views.panel("b", "y", "n")], [views.panel("c", "z")])
    assert tags(page).text == "axbyncz"
    assert page.count("<section") == 3
