"""Writes what was found into README.md: its table and its board of claims, from reports/README.md (`make report`).

That page is drawn from records, and `vdae-bench report --check` holds it to them; a test holds the README to that page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

TOP = Path(__file__).parents[1]
PAGE, README = TOP / "reports" / "README.md", TOP / "README.md"
BEGIN, END = "<!-- found: written by `make report` -->\n", "<!-- end of found -->\n"
VERDICTS = ("reproduced", "not reproduced", "too close to call", "not comparable", "not run")
SCORES = ("NLL", "-ELBO")


def rows_of(page: str, heading: str) -> list[dict[str, str]]:
    """The rows of the first table of a Markdown page that has a heading."""
    for block in re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE):
        lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        if heading in lines[0]:
            return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]
    raise SystemExit(f"{PAGE} has no table with the heading {heading!r}; run vdae-bench report")


def found(page: str) -> str:
    """What stands between the two marks: L-VDAE less VAE in the longest runs there are, and the verdicts."""
    leads: dict[tuple[str, str], list[str]] = {}
    for row in rows_of(page, "protocol"):
        if any(row[f"{score} ours"] != "not run" for score in SCORES):
            epochs = row["protocol"].rpartition(", ")[2].removesuffix(" epochs")
            numbers = [row[f"{score} {whose}"] for score in SCORES for whose in ("paper", "ours")]
            cell = row["data"], row["latents"]
            if cell not in leads or int(leads[cell][2]) < int(epochs):
                leads[cell] = [*cell, epochs, row["seeds"], *numbers, row["unit"]]
    scores = [f"{score}, {whose}" for score in SCORES for whose in ("paper", "ours")]
    claims = rows_of(page, "claim")
    own = sum(row["claim"].startswith("Ours:") for row in claims)
    board = []
    for verdict in VERDICTS:
        which = [row[""] for row in claims if row["verdict"].strip("*") == verdict]
        board.append([verdict, str(len(which)), ", ".join(which) or "-"])
    return (
        f"{_picture('forest', page)}\n{_table(['data', 'm', 'epochs', 'seeds', *scores, 'unit'], leads.values())}\n"
        f"{decided_text(page)}"
        f"`vdae-bench claims` judges {len(claims) - own} claims of the paper and {own} of ours. "
        "[The report](reports/README.md#the-papers-claims) lists them by number:\n\n"
        f"{_table(['verdict', 'claims', 'which'], board)}\n"
        f"{cost_text(page)}\n"
        f"{spaces_text(page)}\n"
    )


def decided_text(page: str) -> str:
    """On which rows the records decide, as a paragraph; nothing where the page does not say it."""
    found = re.search(r"^(?:These records decide .*|No row is decided yet\.)$", page, re.MULTILINE)
    return f"{found[0]}\n\n" if found else ""


def cost_text(page: str) -> str:
    """What the long runs cost, those of most epochs on their own, and what the missing ones would."""
    spent = re.search(r"They cost ([\d.,]+) core-hours", page)
    parts = re.findall(r"^Protocol .*?: (\d+) epochs .* which cost ([\d.,]+) core-hours", page, re.MULTILINE)
    missing = re.search(r"^Missing with `--seeds` as below: (.*?); without: (.*?)\. ?(?:Not .*)?$", page, re.MULTILINE)
    said = []
    if spent and parts:
        most = max((epochs for epochs, _ in parts), key=int)
        hours = sum(float(each.replace(",", "")) for epochs, each in parts if epochs == most)
        said.append(
            f"The tables' runs of {most} epochs cost {hours:.3g} core-hours, all of `make evidence` {spent[1]}."
        )
    if missing:
        said.append(f"[Missing](reports/README.md#what-remains): {missing[1]}; with all seeds {missing[2]}.")
    return " ".join(said)


def _picture(name: str, page: str) -> str:
    """The first picture of that name, as a paragraph; nothing where the page has none."""
    found = re.search(rf"!\[([^]]*)\]\(([^)]*-{name}\.svg)\)", page)
    return f"\n![{found[1]}](reports/{found[2]})\n" if found else ""


def spaces_text(page: str) -> str:
    """What logits of pixels are worth, in a sentence without upper bounds and a figure; nothing without such runs."""
    figure = _picture("representations", page)
    rows = rows_of(page, "logits - pixels") if figure else []
    known = [row for row in rows if not any(cell.startswith("≤") or cell == "-" for cell in row.values())]
    gains = {row["method"]: row["logits - pixels"].split()[0] for row in known}
    if not gains:
        return figure
    least, most = (choose(gains, key=lambda method: float(gains[method])) for choose in (max, min))
    return (
        "\nOf the flows that Table 1 quotes at about 1 bit/dim, FFJORD models logits of pixels, and I-RESNET has other "
        "units ([why](vdae_bench/paper/README.md#two-representations-of-the-data)). Our NLL on logits minus that on "
        f"pixels is {gains[least]} ({least}) to {gains[most]} ({most}) bits/dim; upper bounds (hollow) are left out.\n"
        f"{figure}"
    )


def _table(headings: list[str], rows: Iterable[list[str]]) -> str:
    """A table without padding, which would cost the README its bytes."""
    first, *rest = (f"| {' | '.join(line)} |\n" for line in [headings, *rows])
    return "".join([first, f"|{'---|' * len(headings)}\n", *rest])


def with_found(readme: str, page: str) -> str:
    """The README with these tables between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + found(page) + END + after


if __name__ == "__main__":
    sys.stdout.write(f"{README.relative_to(TOP)}\n")
    README.write_text(
        with_found(README.read_text(encoding="utf-8"), PAGE.read_text(encoding="utf-8")), encoding="utf-8"
    )
