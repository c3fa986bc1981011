"""Links to pages of the repository that are no pages of the site: they lead there, relative to the page.

The published site has `reports/` and `results/` beside `docs/`, as the repository does, so that one link serves both.
"""

import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform


class OutsideLinks(SphinxPostTransform):
    """Takes the links over that MyST would look up among the site's own pages."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Replace each such link."""
        for node in list(self.document.findall(pending_xref)):
            page = Path(f"{node['reftarget']}.md")
            if node["reftype"] != "myst" or node["refdomain"] != "doc" or not page.is_absolute():
                continue  # the name of a page of the site is relative
            here = Path(self.env.srcdir, self.env.docname).parent
            anchor = f"#{node['reftargetid']}" if node["reftargetid"] else ""
            link = nodes.reference("", "", refuri=f"{os.path.relpath(page, here)}{anchor}", internal=False)
            link += node.children
            node.replace_self(link)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_post_transform(OutsideLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
