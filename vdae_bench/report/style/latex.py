"""LaTeX (booktabs), ready to paste."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tabulate import tabulate

from vdae_bench.system.words import visible

SPECIAL = {letter: f"\\{letter}" for letter in "#$%&_{}"} | {
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
}
NEEDS = "% needs \\usepackage{booktabs,graphicx}"


def environment(
    headers: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str], caption: str, label: str
) -> str:
    """A `table` environment no wider than the line; columns are aligned to the right but for those named in `left`."""
    alignment = ["left" if header in left else "right" for header in headers]
    cells = [[visible(cell) for cell in row] for row in rows]
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
    """Signs for plus-minus, times and minus; and no row begins as an argument to the one before it does."""
    tabular = re.sub(r"^(\s*)\[", r"\1{[}", tabular, flags=re.MULTILINE)
    return tabular.replace("±", "$\\pm$").replace("28 x 28", "$28 \\times 28$").replace("-ELBO", "$-$ELBO")
