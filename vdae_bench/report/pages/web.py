"""The page for a browser: every Markdown page of a protocol in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vdae_bench.report.numbers.settings import title_of_folder
from vdae_bench.report.style.html import html_page


def web_page(
    protocol: str, words: str, claims: str | None, pages: Sequence[Path], files: Mapping[Path, bytes], *, home: bool
) -> str:
    """The pages in their order, with their figures in place; `files` has the contents of pages and figures.

    `words` is the protocol for people, and `claims` the one whose claims stand on the page.
    """
    texts = {path.stem: files[path].decode() for path in pages}
    figures = {path.name: content for path, content in files.items()}
    base, _, changes = words.partition(" with ")
    notes = [f"The protocol is {base} with {changes}; its folder is {protocol}."] if changes else []
    if claims and claims != protocol:
        notes.append(
            f"The claims are those of the {claims} protocol: a sweep of the paper here changes it in its spec, and is "
            "evidence for them."
        )
    return html_page(f"vdae-bench, {title_of_folder(protocol)}", texts, figures, home=home, notes=notes)
