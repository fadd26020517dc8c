"""What MkDocs needs to know of this repository: files beside ``docs``, equations, docstrings.

Pages link as they stand in the repository, so that they read well without a build. A page's
``../results/paper/tables.md`` becomes ``results/paper/tables.md`` of the site, and whatever is linked to
comes along. A link to nothing is left as it is, for a strict build to refuse.
"""

import html
import re
from pathlib import Path
from typing import Any

from griffe import Extension, Object
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
# A display equation with text behind it is taken for an inline one between two spare dollar signs.
_MATH = re.compile(r'(\$?)<(span|div) class="arithmatex">\\[(\[](.+?)\\[)\]]</\2>\1', flags=re.DOTALL)
_CELL = re.compile(r"(?<=<td><code>).+?(?=</code></td>)")
_ROLE = re.compile(r":[a-z]+:`~?([\w.]+)`")
_DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", flags=re.MULTILINE)
_PROJECT = ("CONTRIBUTING.md", "LOG.md", "CHANGELOG.md")


def on_files(files: Files, config: Any) -> Files:
    """Add the project's pages, and the files that pages link to."""
    for name in _PROJECT:
        _add(name, files, config)
    todo = [file for file in files if file.src_uri.endswith(".md")]
    while todo:
        page = todo.pop()
        folder = Path(page.abs_src_path).parent
        for link in _LINK.findall(Path(page.abs_src_path).read_text()):
            path = (folder / link).resolve()
            if path.is_file() and ROOT / "docs" not in path.parents:
                added = _add(path.relative_to(ROOT).as_posix(), files, config)
                if added and link.endswith(".md"):
                    todo.append(added)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite links between ``docs`` and the rest of the repository to where the site has them."""
    folder = Path(page.file.abs_src_path).parent

    def moved(link: re.Match[str]) -> str:
        path = (folder / link[1]).resolve()
        if not path.is_file():
            return link[1]
        inside = path.relative_to(ROOT / "docs" if ROOT / "docs" in path.parents else ROOT)
        return "../" * page.file.src_uri.count("/") + inside.as_posix()

    return _LINK.sub(moved, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Turn equations into MathML, which browsers render without a script; break long paths in tables."""

    def rendered(math: re.Match[str]) -> str:
        display = "block" if math[1] or math[2] == "div" else "inline"
        return convert(html.unescape(math[3]), display=display)

    content = _CELL.sub(lambda path: re.sub(r"(?<=[./_:])(?=\w)", "<wbr>", path[0]), content)
    return _MATH.sub(rendered, content)


class Docstrings(Extension):
    """Read doctests as code and roles of Sphinx as names, both of which Markdown knows nothing of."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Change the text of a docstring before it is parsed."""
        if obj.docstring:
            text = _ROLE.sub(lambda role: f"`{role[1].rpartition('.')[2]}`", obj.docstring.value)
            obj.docstring.value = _DOCTEST.sub(r"```pycon\n\g<0>\n```", text)


def _add(name: str, files: Files, config: Any) -> File | None:
    if files.get_file_from_path(name):
        return None
    file = File.generated(config, name, abs_src_path=str(ROOT / name))
    files.append(file)
    return file
