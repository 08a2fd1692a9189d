"""An invented world in Wikidata's data model: about 330 items, with every trap that the real one has.

The ids lie above any that Wikidata has given out, and the names are made of syllables, so that nothing here can be
mistaken for a fact. The same world comes out every time; `python -m tests.wiki.world` prints it as Turtle.
"""

from __future__ import annotations

import random
from functools import cache

from tests.wiki.model import (
    FOOT,
    JULIAN,
    METRE,
    Amount,
    Date,
    Item,
    Other,
    Rank,
    Statement,
    Text,
    Unknown,
    Value,
    World,
)

FIRST = 900_000_000
"""Number of the first invented item."""

_STARTS = "B D F G K L M N P R S T V Z Br Dr Kr St Tr".split()  # noqa: SIM905
_VOWELS = "a e i o u".split()  # noqa: SIM905
_ENDS = "ba da fen gor ka lin mar nos pol ram sut tev vik zan".split()  # noqa: SIM905


class _Maker:
    """Gives out ids and names in order."""

    def __init__(self) -> None:
        self.world = World()
        self.random = random.Random(20_240_229)
        self._next = FIRST
        self._names: set[str] = set()

    def name(self) -> str:
        """A name that nobody has yet."""
        while True:
            syllables = [self.random.choice(_STARTS) + self.random.choice(_VOWELS) for _ in range(2)]
            name = ("".join(syllables) + self.random.choice(_ENDS)).capitalize()
            if name not in self._names:
                self._names.add(name)
                return name

    def item(self, label: str | None, description: str, **details: object) -> str:
        """A new item; most have an article of their label's name."""
        qid = f"Q{self._next}"
        self._next += 1
        item = Item(qid, label, description)
        item.sitelinks = int(400 / (1 + self.random.random() * 60))
        item.title = label
        for name, value in details.items():
            setattr(item, name, value)
        self.world.items[qid] = item
        return qid

    def say(self, subject: str, property_id: str, value: Value, rank: Rank = "normal", *, ended: bool = False) -> None:
        """A statement."""
        self.world.statements.append(Statement(subject, property_id, value, rank, ended))


@cache
def world() -> World:
    """The world; do not change what it returns."""
    make = _Maker()
    classes = _classes(make)
    languages = [make.item(make.name() + "ish", "language", aliases=(f"Tongue {n}",)) for n in range(10)]
    for language in languages:
        make.say(language, "P31", classes["language"])
    countries = _countries(make, classes, languages)
    cities = _cities(make, classes, countries)
    _volcanoes(make, classes, countries)
    _writers(make, classes, countries, cities)
    make.world.named.update(classes)
    return make.world


def _classes(make: _Maker) -> dict[str, str]:
    classes = {
        name: make.item(name, "class", sitelinks=90) for name in ("settlement", "country", "language", "volcano")
    }
    classes["city"] = make.item("city", "class", parents=(classes["settlement"],))
    classes["town"] = make.item("town", "class", parents=(classes["city"],))
    classes["spa town"] = make.item("spa town", "class", parents=(classes["town"],))
    classes["human"] = make.item("human", "class")
    classes["writer"] = make.item("writer", "occupation")
    classes["poet"] = make.item("poet", "occupation", parents=(classes["writer"],))
    return classes


def _countries(make: _Maker, classes: dict[str, str], languages: list[str]) -> list[str]:
    countries = []
    for index in range(12):
        name = make.name() + "ia"
        country = make.item(name, "country in the invented world", aliases=(f"Republic of {name}", name[:2].upper()))
        make.say(country, "P31", classes["country"])
        make.say(country, "P37", languages[index % len(languages)])
        if index % 4 == 0:
            make.say(country, "P37", languages[(index + 1) % len(languages)])
        make.say(country, "P571", Date(f"{1500 + 31 * index}-05-17T00:00:00Z", 11))
        make.say(country, "P1448", Text(f"République de {name}", "fr"))
        if index % 3 == 0:
            make.say(country, "P1448", Text(f"Republic of {name}", "en"))
            make.say(country, "P1448", Text(f"Rep. {name}", "mul"))
        elif index % 3 == 1:
            make.say(country, "P1448", Text(f"{name} e\u0301tat", "mul"))
        countries.append(country)
    return countries


def _cities(make: _Maker, classes: dict[str, str], countries: list[str]) -> list[str]:
    named = make.world.named
    cities = []
    for index in range(170):
        name = make.name()
        kind = ("city", "city", "town", "spa town")[index % 4]
        country = countries[index % len(countries)]
        city = make.item(name, f"{kind} in {make.world.items[country].label}", aliases=(f"Old {name}",))
        make.say(city, "P31", classes[kind])
        if index % 10 == 0:
            make.say(city, "P31", classes["settlement"])
        if index % 17 != 3:
            make.say(city, "P17", country)
        make.say(city, "P2044", Amount(f"+{37 * index + 5}", METRE if index % 5 else FOOT))
        make.say(city, "P571", _founded(index))
        cities.append(city)
    for country, capital in zip(countries, cities, strict=False):
        make.say(country, "P36", capital)
        make.say(capital, "P1376", country)
    for first, second in zip(cities[20:40:2], cities[21:40:2], strict=True):
        make.say(first, "P190", second)
        make.say(second, "P190", first)
    items = make.world.items
    # The same label twice, in different countries, and once more as an alias.
    named["namesake_1"], named["namesake_2"], named["alias_of_namesake"] = cities[50], cities[51], cities[52]
    items[cities[51]].label = items[cities[50]].label
    items[cities[51]].title = f"{items[cities[50]].label} (town)"
    items[cities[52]].aliases = (str(items[cities[50]].label),)
    named["mul_only"], named["no_label"], named["no_sitelinks"], named["no_article"] = cities[53:57]
    items[cities[53]].label, items[cities[53]].mul = None, "Mulheim"
    items[cities[54]].label = None
    items[cities[55]].sitelinks = None
    items[cities[56]].title = None
    # Equal numbers of sitelinks: the smaller id comes first.
    named["tie_1"], named["tie_2"] = cities[57], cities[58]
    items[cities[57]].sitelinks = items[cities[58]].sitelinks = 77
    # A preferred country beside a normal one; a deprecated one beside a normal one; one that has ended.
    named["preferred"], named["deprecated"], named["ended"], named["several"] = cities[60:64]
    make.say(cities[60], "P17", countries[7], "preferred")
    make.say(cities[61], "P17", countries[7], "deprecated")
    make.say(cities[62], "P17", countries[7], ended=True)
    make.say(cities[63], "P17", countries[7])
    # Instead of a country: somevalue in both forms, novalue, a property, and the city itself.
    for name, city, value in (
        ("somevalue_blank", cities[3], Unknown()),
        ("somevalue_skolem", cities[20], Unknown(skolem=True)),
        ("not_an_item", cities[37], Other("http://www.wikidata.org/entity/P17")),
        ("itself", cities[71], cities[71]),
    ):
        named[name] = city
        make.say(city, "P17", value)
    # Well linked, so that a topic's limit does not cut the traps off.
    for position in (3, 20, 37, 50, 51, 52, 53, 54, 56, 60, 61, 62, 63, 71, 88):
        items[cities[position]].sitelinks = 120 + position
    named["novalue"] = cities[88]
    make.world.novalue.append((cities[88], "P17"))
    return cities


def _founded(index: int) -> Value:
    year = 900 + 6 * index
    if index % 7 == 1:
        return Date(f"{year:04d}-01-01T00:00:00Z", 7)
    if index % 7 == 2:
        return Date(f"-{index % 500:04d}-01-01T00:00:00Z", 9, JULIAN)
    if index % 7 == 3:
        return Unknown()
    return Date(f"{year:04d}-{index % 12 + 1:02d}-01T00:00:00Z", 10 if index % 2 else 9)


def _volcanoes(make: _Maker, classes: dict[str, str], countries: list[str]) -> None:
    for index in range(30):
        volcano = make.item(f"Mount {make.name()}", "volcano")
        make.say(volcano, "P31", classes["volcano"])
        make.say(volcano, "P17", countries[index % 5])
        make.say(volcano, "P2044", Amount(f"+{1000 + 13 * index}.50", METRE))


def _writers(make: _Maker, classes: dict[str, str], countries: list[str], cities: list[str]) -> None:
    previous = ""
    for index in range(90):
        name = f"{make.name()} {make.name()}"
        writer = make.item(name, "writer", aliases=(f"{name} the Elder", name.split()[1]))
        make.say(writer, "P31", classes["human"])
        make.say(writer, "P106", classes["poet" if index % 3 else "writer"])
        make.say(writer, "P19", cities[(index * 7) % len(cities)])
        make.say(writer, "P27", countries[index % len(countries)])
        make.say(writer, "P569", Date(f"{1800 + index}-{index % 12 + 1:02d}-{index % 28 + 1:02d}T00:00:00Z", 11))
        if index % 6 == 0:
            # The same birth, known to the year as well.
            make.say(writer, "P569", Date(f"{1800 + index}-01-01T00:00:00Z", 9))
        if index % 2:
            make.say(writer, "P26", previous)
            make.say(previous, "P26", writer)
        previous = writer


if __name__ == "__main__":
    print(world().turtle(), end="")
