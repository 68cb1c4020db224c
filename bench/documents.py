"""Writes the tables of a result into the documents: a short one into README.md, all into docs/performance.md.

They are between markers. A run replaces them, and a test checks that they are the newest.
"""

import re
from pathlib import Path

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_BLOCK = re.compile(f"(?<={BEGIN}\n).+?(?=\n{END})", re.DOTALL)

NOTHING_YET = "No result is committed yet; `make bench` makes one."

README, PERFORMANCE = Path("README.md"), Path("docs") / "performance.md"

_SHORT, _WHOLE = "## In short\n\n", "## In full\n\n"


def page(name: str, short: str, whole: str) -> str:
    """Returns the page of a result."""
    return f"# {name}\n\n![Medians with min and max]({name}.svg)\n\n{_SHORT}{short}\n\n{_WHOLE}{whole}\n"


def newest(results: Path) -> Path | None:
    """Returns the page of the newest result that is not quick. A full run precedes a partial one of the same day."""
    return max((page for page in results.glob("[0-9]*.md") if not page.stem.endswith("-quick")), default=None)


def blocks(page: Path | None) -> dict[Path, str]:
    """Returns the text between the markers of each document if this page is the newest."""
    if page is None:
        return {README: NOTHING_YET, PERFORMANCE: NOTHING_YET}
    short, _, whole = page.read_text().partition(_SHORT)[2].partition(f"\n\n{_WHOLE}")
    return _blocks(page.stem, short, whole.removesuffix("\n"))


def block_of(document: str) -> str:
    """Returns the text between the markers. Raises ValueError unless the document has them once."""
    (block,) = _BLOCK.findall(document)
    return str(block)


def insert(root: Path, name: str, short: str, whole: str) -> None:
    """Writes the tables between the markers of the documents of this tree."""
    for path, block in _blocks(name, short, whole).items():
        before, _, rest = (root / path).read_text().partition(f"{BEGIN}\n")
        _, _, after = rest.partition(f"\n{END}")
        (root / path).write_text(f"{before}{BEGIN}\n{block}\n{END}{after}")


def _blocks(name: str, short: str, whole: str) -> dict[Path, str]:
    source = f"The result of {name}; [the page of it](../bench/results/{name}.md) stands beside its data."
    plot = f"![Medians with min and max](../bench/results/{name}.svg)"
    return {README: short, PERFORMANCE: f"{source}\n\n{plot}\n\n{whole}"}
