"""HTML by construction: whatever is not `Html` already is text, and is escaped when it becomes part of an element."""

from __future__ import annotations

import html

from dual_data.display import visible

_VOID = frozenset({"meta", "input", "br", "hr"})


class Html(str):
    """Markup that is safe to put into a page; only this module and figures make it from text."""

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
    """Text from outside: its direction must not reorder what stands around it."""
    return element("bdi", text)
