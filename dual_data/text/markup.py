"""HTML elements from Python: content that is not of type `Html` is text, and is escaped."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping

from dual_data.text.display import visible

LIGHT: Mapping[str, str] = {
    "ink": "#1b1f24", "paper": "#ffffff", "soft": "#57606a", "rule": "#d5dbe1", "shade": "#f4f6f8", "link": "#1f5fbf",
    "warn": "#fff7e6", "warn-rule": "#b45309", "c0": "#c2410c", "c1": "#1f5fbf", "c2": "#15803d", "c3": "#9333ea",
    "c4": "#8a6d00", "c5": "#0e7490", "c6": "#c026a3", "c7": "#4d5560",
}  # fmt: skip
"""The colours of every page on light paper, by variable."""
_DARK: Mapping[str, str] = {
    "ink": "#e6e9ec", "paper": "#14171a", "soft": "#a3adb7", "rule": "#39414a", "shade": "#1d2226", "link": "#8ab8ff",
    "warn": "#2a2112", "warn-rule": "#f3bf5f", "c0": "#ff9d6b", "c1": "#7db0ff", "c2": "#6fdc91", "c3": "#cf9bff",
    "c4": "#e8d44d", "c5": "#67d3e6", "c6": "#ff7ad9", "c7": "#b4bcc4",
}  # fmt: skip
_PRINT: Mapping[str, str] = {
    **LIGHT, "ink": "#000", "soft": "#444", "rule": "#bbb", "shade": "#fff", "link": "#000", "warn": "#fff",
    "warn-rule": "#444",
}  # fmt: skip


def _root(scheme: str, colours: Mapping[str, str]) -> str:
    return f":root{{color-scheme:{scheme};{';'.join(f'--{name}:{value}' for name, value in colours.items())}}}"


_PALETTE = (
    f"\n{_root('light dark', LIGHT)}\n@media (prefers-color-scheme:dark){{{_root('light dark', _DARK)}}}\n"
    f"@media print{{{_root('light', _PRINT)}}}\n"
)
_VOID = frozenset({"meta", "input", "br", "hr"})


class Html(str):
    """Markup that is safe to put into a page; only this module and the figures may turn text into it."""

    __slots__ = ()


Content = Html | str | int | None


def escaped(content: Content) -> Html:
    """Content as markup: `Html` as it is, nothing for None, everything else as escaped text."""
    if isinstance(content, Html):
        return content
    return Html("" if content is None else html.escape(visible(str(content)), quote=True))


def joined(*contents: Content) -> Html:
    """Contents one after the other."""
    return Html("".join(map(escaped, contents)))


def element(tag: str, *contents: Content, **attributes: str | int | bool | None) -> Html:
    """One element. `class_` stands for class, `data_x` for data-x.

    An attribute that is True has no value; one that is None or False is left out.

    >>> element("p", "1 < 2", class_="note", hidden=True)
    '<p class="note" hidden>1 &lt; 2</p>'
    """
    opening = [tag]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        opening.append(name if value is True else f'{name}="{escaped(value)}"')
    if tag in _VOID:
        return Html(f"<{' '.join(opening)}>")
    return Html(f"<{' '.join(opening)}>{joined(*contents)}</{tag}>")


def label(text: str) -> Html:
    """Text from outside, isolated so that its writing direction cannot reorder the text around it."""
    return element("bdi", text)


def breakable(text: str) -> Html:
    """Text that may wrap after an underscore, as names of splits and sets in narrow columns must."""
    return Html(escaped(text).replace("_", "_<wbr>"))


def html_page(title: str, style: str, *body: Content, script: str = "") -> str:
    """A whole page in the colours of the palette, which loads no resources and runs no script but `script`."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Even if a label got through as markup, it could load nothing and run nothing.
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "form-action 'none'; base-uri 'none'"
    )
    head = joined(
        element("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        Html(f"<style>{_PALETTE}{style}</style>"),
    )
    end = Html(f"<script>{script}</script>" if script else "")
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>{joined(*body, end)}</body>\n</html>\n'
