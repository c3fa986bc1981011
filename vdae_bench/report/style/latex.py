"""LaTeX (booktabs), ready to paste."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from tabulate import tabulate

from vdae_bench.system.words import visible

SPECIAL = {letter: f"\\{letter}" for letter in "#$%&_{}"} | {
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
}
_BOLD = "\ue000{}\ue001"
"""Bold text until tabulate has escaped it: no visible text has these letters."""
NEEDS = "% needs \\usepackage{booktabs,graphicx}"


def environment(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Sequence[str],
    caption: str,
    label: str,
    bold: Collection[tuple[int, int]] = (),
) -> str:
    """A `table` environment no wider than the line; columns are aligned to the right but for those named in `left`.

    `bold` are (row, column) of the cells in bold.
    """
    alignment = ["left" if header in left else "right" for header in headers]
    cells = [
        [_BOLD.format(visible(cell)) if (number, place) in bold else visible(cell) for place, cell in enumerate(row)]
        for number, row in enumerate(rows)
    ]
    tabular = tabulate(cells, headers, tablefmt="latex_booktabs", disable_numparse=True, colalign=alignment)
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_escape(caption)}}}",
        f"\\label{{tab:{re.sub(r'[^A-Za-z0-9.:+-]', '-', label)}}}",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"{_signs(tabular)}}}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in visible(text))


def _signs(tabular: str) -> str:
    """Signs for bold, plus-minus, times and minus; and no row begins as an argument to the one before it does."""
    tabular = re.sub(r"^(\s*)\[", r"\1{[}", tabular, flags=re.MULTILINE)
    tabular = re.sub(r"(?<=[\s\[/])-(?=\d)|(?<=\w )-(?= \w)", "$-$", tabular)
    tabular = re.sub("\ue000(.*?)\ue001", r"\\textbf{\1}", tabular)
    return tabular.replace("±", "$\\pm$").replace("28 x 28", "$28 \\times 28$").replace("-ELBO", "$-$ELBO")
