"""LaTeX (booktabs), ready to paste."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

NEEDS = "% needs \\usepackage{booktabs,graphicx}"


def environment(
    headers: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str], caption: str, label: str
) -> str:
    """A `table` environment no wider than the line; columns are aligned to the right but for those named in `left`."""
    alignment = ["left" if header in left else "right" for header in headers]
    tabular = tabulate(rows, headers, tablefmt="latex_booktabs", disable_numparse=True, colalign=alignment)
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_escape(caption)}}}",
        f"\\label{{tab:{label}}}",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"{_signs(tabular)}}}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "#$%&_{}" else letter for letter in text)


def _signs(tabular: str) -> str:
    """Plus-minus, and the multiplication and minus signs that plain text writes as letters."""
    return tabular.replace("±", "$\\pm$").replace("28 x 28", "$28 \\times 28$").replace("-ELBO", "$-$ELBO")
