"""Runs the notebooks from top to bottom and keeps what they show (`make notebooks`); progress lines are left out.

It also writes how a notebook opens in Colab, from `Repository` under `[project.urls]` in pyproject.toml.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

TOP = Path(__file__).parents[1]
WITHOUT_ADDRESS = (
    "To run this notebook in Colab, upload the file there (*File*, *Upload notebook*), and write the address that this "
    "repository is cloned from into `ADDRESS` below."
)


def repository() -> str:
    """The address of the repository on GitHub, or "" as long as pyproject.toml does not have it."""
    urls: dict[str, str] = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    return urls.get("Repository", "")


def colab(name: str, address: str) -> str:
    """The paragraph that opens a notebook in Colab: a badge, or what to do as long as there is no address."""
    if not address:
        return WITHOUT_ADDRESS
    host = "https://colab.research.google.com"
    link = f"{host}/github/{address.removeprefix('https://github.com/')}/blob/main/notebooks/{name}"
    return f"[![Open in Colab]({host}/assets/colab-badge.svg)]({link})"


def set_address(cells: list[dict[str, Any]], name: str, address: str) -> None:
    """Write an address into the second paragraph of a notebook's title and into `ADDRESS` of its first code."""
    title, *_ = (each for each in cells if each["cell_type"] == "markdown")
    code, *_ = (each for each in cells if each["cell_type"] == "code")
    heading, _, *rest = title["source"].split("\n\n")
    title["source"] = "\n\n".join([heading, colab(name, address), *rest])
    code["source"] = re.sub(r'^ADDRESS = ".*?"', f'ADDRESS = "{address}"', code["source"], flags=re.MULTILINE)


def main() -> None:
    """Run every notebook and write it back."""
    import nbformat
    from nbclient import NotebookClient

    for path in sorted((TOP / "notebooks").glob("*.ipynb")):
        book = nbformat.read(path, as_version=4)
        set_address(book.cells, path.name, repository())
        NotebookClient(book, timeout=600, kernel_name="python3", record_timing=False).execute()
        book.metadata["language_info"] = {"name": "python"}  # without the version, which differs between machines
        for cell in book.cells:
            if cell.cell_type == "code":
                cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
        nbformat.write(book, path)
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
