"""The page for a browser: every Markdown page of a protocol in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vdae_bench.report.style.html import html_page


def web_page(protocol: str, pages: Sequence[Path], files: Mapping[Path, bytes], *, home: bool) -> str:
    """The pages in their order, with their figures in place; `files` has the contents of pages and figures."""
    texts = {path.stem: files[path].decode() for path in pages}
    figures = {path.name: content for path, content in files.items()}
    return html_page(f"vdae-bench, {protocol} protocol", texts, figures, home=home)
