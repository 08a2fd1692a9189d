"""What an answer of the Action API says of its titles and pages."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from dual_data.calls.log import Request
from dual_data.ids import canonical


class Names:
    """Follows a title through normalisation and redirects."""

    def __init__(self) -> None:
        self._next: dict[str, str] = {}
        self._elsewhere: set[str] = set()

    def learn(self, answer: Mapping[str, Any]) -> None:
        """Take in the renames of an answer. Raises KeyError or TypeError for an answer of another form."""
        for step in answer.get("normalized", ()):
            # A title that is not in NFC comes back percent-encoded.
            requested = unquote(step["from"]) if step.get("fromencoded") else step["from"]
            self._next[requested] = step["to"]
        for step in answer.get("redirects", ()):
            self._next[step["from"]] = step["to"]
            if "tointerwiki" in step:
                self._elsewhere.add(step["to"])
        self._elsewhere.update(step["title"] for step in answer.get("interwiki", ()))

    def final(self, title: str) -> str | None:
        """The title that stands in the answer's pages; None where redirects run in a circle or to another wiki."""
        seen = {title}
        while (following := self._next.get(title)) is not None:
            if following in seen:
                return None
            seen.add(following)
            title = following
        return None if title in self._elsewhere else title

    def unsaid(self, titles: Iterable[str], said: Container[str]) -> list[str]:
        """The titles that should stand in the answer's pages and do not."""
        return [title for title in titles if (final := self.final(title)) is not None and final not in said]


def is_page(page: Mapping[str, Any]) -> bool:
    """Whether this can be an article: the page exists and is none that the software generates (Special:Search)."""
    return not (page.get("missing") or page.get("invalid") or page.get("special"))


def checked(page: Mapping[str, Any]) -> Mapping[str, Any]:
    """The page, if what is counted in it has the expected form. Raises KeyError or TypeError if not."""
    links = [link["pageid"] for link in page.get("linkshere", ())]
    titles = [page["title"], *(redirect["title"] for redirect in page.get("redirects", ()))]
    if not all(isinstance(title, str) for title in titles) or not all(isinstance(link, int) for link in links):
        raise TypeError(f"{titles[0]!r} has links or redirects of another form")
    return page


def incoming_links(page: Mapping[str, Any]) -> int | None:
    """The counter in a page's cirrusdoc, a list of index documents of which the first is the article.

    None where the index lacks it (an empty field is an empty list there, even where an object belongs) or has what is
    no count that a column could hold.
    """
    source = page["cirrusdoc"][0].get("source") if page["cirrusdoc"] else None
    count = source.get("incoming_links") if isinstance(source, dict) else None
    return count if type(count) is int and 0 <= count < 2**63 else None


def endless(api: str, request: Request, more: Mapping[str, Any]) -> str:
    """The message on an answer that continues where an earlier one did."""
    return (
        f"{api} repeats itself over prop={request['prop']}: it says again to continue at {canonical(more)}. Use "
        "another method in [links], or correct the title at fault in the source of the facts; it is one of: "
        + ", ".join(request["titles"])
    )
