"""Pages for a browser, each one file that needs no network, and the one place where text becomes HTML.

Markdown is rendered by markdown-it; figures are put in as SVG, tables get sort buttons and a box of their own to
scroll in. `page.html.j2` is the frame of several Markdown pages in one; other pages bring their own template, scripts
and style to `render`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markupsafe import Markup

HERE = Path(__file__).parent
LARGEST_FIGURE = 2 * 2**20
"""Bytes above which a figure stays beside the page: ten of a thousand curves each would make it slow to open."""
KEYS = {
    "data": ", ", "latents": ", m = ", "m": ", m = ", "method": ", ", "estimator": ", ", "score": ", ", "first": ", ",
    "second": " minus ",
}  # fmt: skip
"""Columns that say together who a row is about, and what stands before their text where the first one says it all."""
ANCHOR = re.compile(r'<a id="([\w.+-]+)"></a>', re.ASCII)


@dataclass(frozen=True)
class _Section:
    key: str
    title: str
    body: Markup
    headings: Sequence[tuple[str, str]]


class _Renderer(RendererHTML):
    """HTML of tokens, with what a plain renderer leaves out: boxes for tables, sort buttons, figures in place."""

    def table_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        env["tables"] += 1
        label = html.escape(f"Table {env['tables']} of {env['key']}: {env['heading']}")
        judged = ' class="judged"' if tokens[index].meta.get("judged") else ""
        return f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table{judged}>'

    def table_close(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        button = '<button type="button">' if tokens[index + 1].content else ""
        return f'<th scope="col"{_style(tokens[index])}>{button}'

    def th_close(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return f"{'</button>' if tokens[index - 1].content else ''}</th>"

    def heading_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        level, text = int(tokens[index].tag[1]), _plain(tokens[index + 1])
        env["heading"] = text
        key = _unique(f"{env['key']}--{_slug(text)}" if level > 1 else env["key"], env["ids"])
        if level == 2:
            env["headings"].append((key, text))
        env["title"] = env["title"] or text
        return f'<h{level + 1} id="{html.escape(key)}">'

    def anchor(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return f'<a id="{html.escape(env["key"])}--{tokens[index].attrs["id"]}"></a>'

    def heading_close(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return f"</h{int(tokens[index].tag[1]) + 1}>\n"

    def image(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        source, alt = str(tokens[index].attrs["src"]), html.escape(tokens[index].content)
        content = env["files"].get(source)
        if content is None:
            return f"<em>{alt}</em>"
        if len(content) > LARGEST_FIGURE:
            size = f"{len(content) / 2**20:.1f} MB"
            return f'<a href="{html.escape(quote(source))}">{alt}</a> ({size}, in a file of its own)'
        if source.endswith(".svg"):
            env["figures"] += 1
            drawn = _inline_svg(content.decode(), f"{env['key']}-{env['figures']}", alt)
        else:
            drawn = f'<img alt="{alt}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'
        return f'<span class="figure" role="group" tabindex="0" aria-label="{alt}">{drawn}</span>'


def _name_rows(tokens: Sequence[Token]) -> None:
    """Let the first cell of each row say who the row is about, for windows in which it alone is in view."""
    table, first, heads, column, who = Token("", "", 0), Token("", "", 0), list[str](), 0, ""
    for token, inline in itertools.pairwise(tokens):
        if token.type == "table_open":
            table, heads = token, []
        elif token.type == "th_open":
            heads.append(_plain(inline))
            table.meta["judged"] = "verdict" in heads
        elif token.type == "tr_open":
            column, who = 0, ""
        elif token.type == "td_open":
            first = first if column else token
            if column and heads[0] in KEYS and heads[column] in KEYS:
                who += KEYS[heads[column]] + _plain(inline)
            column += 1
        elif token.type == "tr_close" and who:
            first.attrSet("data-who", who.removeprefix(", "))


def _style(token: Token) -> str:
    style = token.attrGet("style")
    return f' style="{style}"' if style else ""


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def _slug(text: str) -> str:
    """As GitHub makes an anchor of a heading."""
    return re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")


def _unique(key: str, taken: set[str]) -> str:
    candidate, number = key, 1
    while candidate in taken:
        number += 1
        candidate = f"{key}-{number}"
    taken.add(candidate)
    return candidate


def _inline_svg(text: str, prefix: str, alt: str) -> str:
    """The figure without its prologue, its ids made its own: two figures of a page must not share them."""
    svg = re.sub(r"<!--.*?-->", "", text[text.index("<svg") :].rstrip(), flags=re.DOTALL)
    prefix = html.escape(prefix)
    svg = re.sub(r'\bid="', lambda _: f'id="{prefix}-', svg)
    svg = svg.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    return svg.replace("<svg", f'<svg role="img" aria-label="{alt}"', 1)


@functools.cache
def _markdown() -> MarkdownIt:
    """The reader of Markdown, in which HTML is text, but for the empty anchors that `sections` put before records."""
    markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    markdown.inline.ruler.before("autolink", "anchor", _anchor)
    return markdown


def _anchor(state: StateInline, silent: bool) -> bool:
    found = ANCHOR.match(state.src, state.pos)
    if found and not silent:
        state.push("anchor", "a", 0).attrs = {"id": found[1]}
    state.pos = found.end() if found else state.pos
    return bool(found)


def _section(key: str, text: str, files: Mapping[str, bytes], keys: Collection[str]) -> _Section:
    env: dict[str, Any] = {
        "key": key, "files": files, "heading": key, "title": "",
        "tables": 0, "figures": 0, "ids": set(), "headings": [],
    }  # fmt: skip
    markdown = _markdown()
    tokens = markdown.parse(text, env)
    _name_rows(tokens)
    body = markdown.renderer.render(tokens, markdown.options, env)
    # Links within a Markdown page, and to the other pages that are sections here.
    body = body.replace('<a href="#', f'<a href="#{html.escape(key)}--')
    for other in keys:
        to = html.escape(other).replace("\\", "\\\\")
        body = re.sub(f'<a href="(?:[^"]*/)?{re.escape(other)}[.]md"', f'<a href="#{to}"', body)
    return _Section(key, env["title"], Markup(body), env["headings"])


def html_page(
    title: str, texts: Mapping[str, str], files: Mapping[str, bytes], *, home: bool, notes: Sequence[str] = ()
) -> str:
    """The page: its title and notes, Markdown texts by their keys in addresses (`#key`), figures by file name.

    It leads to the `home` over all of them where there is one.
    """
    sections = [_section(key, text, files, texts.keys()) for key, text in texts.items()]
    return render(
        HERE / "page.html.j2", scripts=[HERE / "page.js"], title=title, sections=sections, home=home, notes=notes
    )


def render(
    template: Path,
    *,
    scripts: Sequence[Path],
    styles: Sequence[Path] = (),
    allowed: Sequence[str] = (),
    **values: Any,
) -> str:
    """A page from a template that escapes what it is given, with its scripts and styles in it.

    The browser runs these scripts and no others, and loads nothing: its policy has their digests, and `allowed` has
    what a served page may do besides.
    """
    environment = Environment(loader=FileSystemLoader(template.parent), autoescape=True, trim_blocks=True)
    environment.filters["md"] = inline_markdown
    texts = [path.read_text(encoding="utf-8") for path in scripts]
    looks = [path.read_text(encoding="utf-8") for path in (HERE / "base.css", *styles)]
    page = environment.get_template(template.name).render(
        scripts=[Markup(text) for text in texts],
        style=Markup("\n".join(looks)),
        policy=_policy(texts, allowed),
        **values,
    )
    return page + "\n"


def _policy(scripts: Sequence[str], allowed: Sequence[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts]
    own = " ".join(f"'sha256-{each}'" for each in digests)
    rules = [f"default-src 'none'; script-src {own}; style-src 'unsafe-inline'; img-src data:"]
    return "; ".join([*rules, *allowed, "base-uri 'none'; form-action 'none'"])


def inline_markdown(text: str) -> Markup:
    """A line of Markdown, such as a cell of a table, as HTML."""
    return Markup(_markdown().renderInline(text, {"key": "", "files": {}}))


def inline_figure(svg: bytes, key: str, alt: str) -> Markup:
    """A drawn figure in place, for those who do not see it in words."""
    return Markup(_inline_svg(svg.decode(), key, html.escape(alt)))


def inline_json(content: Any) -> Markup:
    """Content for a script of the page to read: in JSON of which no character means anything in HTML."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text))
