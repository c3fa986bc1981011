"""Formulas as MathML, which browsers draw themselves: no script is loaded, so that pages read the same offline."""

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_log = logging.getLogger(__name__)


def _draw(self: HTML5Translator, node: nodes.Element, block: bool) -> None:
    try:
        formula = str(tex2mathml(node.astext(), as_block=block))
    except MathError as error:
        _log.warning("a formula is no LaTeX that docutils knows: %s", error, location=node)
        formula = f"<code>{self.encode(node.astext())}</code>"
    self.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(lambda self, node: _draw(self, node, block=False), None),
        block_renderers=(lambda self, node: _draw(self, node, block=True), None),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
