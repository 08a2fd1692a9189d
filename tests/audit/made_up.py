"""100 made-up questions of every kind, with the kind that the rules must find for each.

Labelling rules, also used for the hashed labels of `labels.tsv`. A question has one kind, the first that applies:

1. ungrammatical. (a) The phrase between "What/Who is the" and "of X" is no singular noun phrase: a predicate, a
   participle without its noun, a dangling preposition, a plural after "is". A noun followed by a participle
   ("language used") is a noun phrase. (b) "Who" where the answer is neither a person nor a group or firm that can play
   the role. (c) "What" for a role that only a person holds (kinship, occupation, office) where the answer is a person;
   roles that firms or groups hold as often (developer, manufacturer, owner, performer, producer ...) allow both.
   (d) Any other error of English grammar; but punctuation, a missing question mark and the word order of a paraphrase
   do not matter.
2. inverted. It reads well but asks for the other end: the subject is what the question asks for ("What is the capital
   of X?" where X is the capital; "What lies within X?" where X lies in the answer; "What is the member of X?").
3. vacuous. Its relation places an item in a knowledge base and states no fact: instance or subclass of, different from,
   the same as, has part(s), described by source, items about the item; in any wording.
Anything else is well formed, even with a wrong answer or one given away: those are other measurements.
"""

from __future__ import annotations

from typing import NamedTuple

from dual_data.audit.grammar import Kind


class MadeUp(NamedTuple):
    """A question, its answer, its relation as named in a table (or None), and its kind (None: well formed)."""

    question: str
    answer: str
    relation: str | None
    kind: Kind | None


_UNGRAMMATICAL: list[tuple[str, str, str | None]] = [
    ("What is the located in time zone of Alphaville?", "UTC+01:00", "located in time zone"),
    ("What is the located on street of Betahouse?", "Gamma Street", "located on street"),
    ("What is the borders of Alphaland?", "Betaland", "borders"),
    ("What is the shares a coast with of Alphaland?", "Betaland", "shares a coast with"),
    ("What is the has capital of Alphaland?", "Alphaville", "has capital"),
    ("What is the has tributary of Deltariver?", "Epsilon Brook", None),
    ("What is the flows into of Deltariver?", "Zeta Sea", "flows into"),
    ("What is the written in of Etabook?", "Latin", "written in"),
    ("What is the built from of Betahouse?", "granite", "built from"),
    ("What is the founded in of Thetacorp?", "1911", "founded in"),
    ("What is the married to of Iota Kappa?", "Lambda Kappa", "married to"),
    ("What is the known for of Iota Kappa?", "the kappa theorem", "known for"),
    ("What is the similar to of Mu?", "Nu", "similar to"),
    ("What is the inhabitants of Alphaville?", "12,000", "inhabitants"),
    ("What is the languages of Alphaland?", "Alphish", None),
    ("What is the official colours of Thetacorp?", "red", "official colours"),
    ("What is the invented by of the xi machine?", "Omicron Pi", "invented by"),
    ("What is the participates in of Rho United?", "Sigma League", "participates in"),
    ("What is the taught at of Iota Kappa?", "Tau University", "taught at"),
    ("What is the in honour of Betahouse?", "Upsilon", "in honour of"),
    ("What is the was succeeded by of King Phi I?", "King Phi II", "was succeeded by"),
    ("What is the is part of the body of chi gland?", "neck", None),
    ("Who is the climate of Alphaville?", "oceanic climate", "climate"),
    ("Who is the currency of Alphaland?", "alph", "currency"),
    ("Who is the country of Alphaville?", "Alphaland", None),
    ("Who is the language of Etabook?", "Latin", "language"),
    ("Who is the capital of Betaland?", "Psi City", "capital"),
    ("Who is the number of seats of Omega Stadium?", "40,000", "number of seats"),
    ("Who borders on Alphaland?", "Beta Province", "shares border with"),
    ("What is the husband of Lambda Kappa?", "Iota Kappa", "husband"),
    ("What is the mayor of Alphaville?", "Iota Kappa", "mayor"),
    ("What is the painter of The Blue Gamma?", "Lambda Kappa", "painter"),
    ("What is the doctoral supervisor of Iota Kappa?", "Omicron Pi", "doctoral supervisor"),
    ("What is the composed for of Eta Sonata?", "violin", "composed for"),
]

_INVERTED: list[tuple[str, str, str | None]] = [
    ("What is the capital of Alphaville?", "Alpha Province", "capital of"),
    ("What is the capital of Psi City?", "Psi District", None),
    ("What is the capital of Sofia?", "Bulgaria", None),
    ("Which city is the capital of Psi City?", "Betaland", "capital of"),
    ("What is the county seat of Mu Town?", "Mu County", "county seat of"),
    ("What is the owner of Thetacorp?", "Theta Press", "owner of"),
    ("What is the member of Alphaland?", "Council of Nu", "member of"),
    ("What is the member of Betaland?", "Nu Pact", None),
    ("What is the member of sports team of Iota Kappa?", "Rho United", "member of sports team"),
    ("What is the part of Xi Island?", "Omicron Islands", "part of"),
    ("What is the part of Pi Bay?", "Zeta Sea", None),
    ("What is the tributary of Epsilon Brook?", "Deltariver", "tributary of"),
    ("What is the moon of Rhosat?", "Sigmar", "moon of"),
    ("What is the cause of taupox?", "fever", "cause of"),
    ("What is the suburb of North Alphaville?", "Alphaville", "suburb of"),
    ("What town lies within Mu Town?", "Mu County", "located in the administrative territorial entity"),
    ("What is situated in Alphaville?", "Alpha Province", "located in the administrative territorial entity"),
    ("Which place can be found inside Psi City?", "Psi District", None),
    ("Which country is located in Alphaville?", "Alphaland", "country"),
    ("What falls under the territory of Mu Town?", "Mu County", "located in the administrative territorial entity"),
]

_VACUOUS: list[tuple[str, str, str | None]] = [
    ("What is the instance of Alphaville?", "city", "instance of"),
    ("What is the instance of Deltariver?", "river", None),
    ("What is the subclass of taupox?", "infection", "subclass of"),
    ("What is the subclass of sigma bread?", "bread", None),
    ("What is Alphaville an example of?", "city", "instance of"),
    ("Which class does Etabook belong to?", "book", "instance of"),
    ("What should Alphaville not be confused with?", "Alphaville County", "different from"),
    ("How is Mu Town different from its namesake?", "Mu", "different from"),
    ("What distinguishes Psi City?", "Psi", None),
    ("What is Iota the same as?", "Jota", "said to be the same as"),
    ("Which source describes Iota Kappa?", "Encyclopaedia of Nu", "described by source"),
    ("What does the chi gland consist of?", "chi tissue", "has part(s)"),
]

_WELL_FORMED: list[tuple[str, str, str | None]] = [
    ("What is the capital of Alphaland?", "Alphaville", "capital"),
    ("What is the capital of Nu Province?", "Nu", "capital"),
    ("What is the capital of the Betaland Republic?", "Psi City", None),
    ("Which province is Alphaville the capital of?", "Alpha Province", "capital of"),
    ("Of which district is Psi City the capital?", "Psi District", "capital of"),
    ("Psi City is the capital of which district?", "Psi District", "capital of"),
    ("Which country has Psi City as its capital?", "Betaland", "capital of"),
    ("What is the currency of Alphaland?", "alph", "currency"),
    ("What is the country of origin of the xi machine?", "Betaland", "country of origin"),
    ("What is the place of birth of Iota Kappa?", "Alphaville", "place of birth"),
    ("What is the highest point of Betaland?", "Mount Rho", "highest point"),
    ("What is the headquarters location of Thetacorp?", "Psi City", "headquarters location"),
    ("What is the language used of Etabook?", "Latin", "language used"),
    ("What is the programming language of SigmaDB?", "C", None),
    ("What is the sports league of Rho United?", "Sigma League", "sports league"),
    ("What is the diocese of Saint Tau's Church?", "Diocese of Tau", "diocese"),
    ("What is the opposite of upsilon decay?", "upsilon growth", "opposite of"),
    ("What is the manufacturer of the xi machine?", "Xi Works", "manufacturer"),
    ("What is the architect of Betahouse?", "Gamma Architects Ltd", "architect"),
    ("Who is the architect of Omega Stadium?", "Lambda Kappa", "architect"),
    ("Who is the head of state of Alphaland?", "Iota Kappa", "head of state"),
    ("Who is the owner of Omega Stadium?", "Mu County", "owned by"),
    ("Who is the patron saint of Alphaville?", "Saint Tau", "patron saint"),
    ("Who is the spouse of Iota Kappa?", "Lambda Kappa", "spouse"),
    ("Who wrote Etabook?", "Omicron Pi", "author"),
    ("Who was Alphaville named after?", "Queen Alpha", "named after"),
    ("What are the languages of Alphaland?", "Alphish", None),
    ("What is the name of the river that flows through Psi City?", "Deltariver", None),
    (
        "In which administrative area is Mu Town located?",
        "Mu County",
        "located in the administrative territorial entity",
    ),
    ("Which country is Alphaville located in?", "Alphaland", "country"),
    ("Mu Town lies within which county?", "Mu County", "located in the administrative territorial entity"),
    ("What county is home to Mu Town?", "Mu County", "located in the administrative territorial entity"),
    ("When was Thetacorp founded?", "1911", "inception"),
    ("What does Deltariver flow into?", "Zeta Sea", "mouth of the watercourse"),
]

_BY_KIND: tuple[tuple[Kind | None, list[tuple[str, str, str | None]]], ...] = (
    ("ungrammatical", _UNGRAMMATICAL),
    ("inverted", _INVERTED),
    ("vacuous", _VACUOUS),
    (None, _WELL_FORMED),
)

MADE_UP = [MadeUp(*row, kind) for kind, rows in _BY_KIND for row in rows]
