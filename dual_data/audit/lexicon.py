"""Closed word lists of English for the rules that find malformed questions.

Function words, irregular forms and role nouns, so that the rules also apply to unseen relations. Of Wikidata's labels
only those are listed that state no fact of the world, or whose direction matters.
"""

from __future__ import annotations


def _words(text: str, separator: str | None = None) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(separator))


PREPOSITIONS = _words(
    """about after against along as at before behind between by during for from in inside into near of on onto outside
    over through to toward towards under until upon via with within without"""
)

ARTICLES = _words("a an the this that these those its their his her")

FINITE_VERBS = _words("is are was were be been has have had does do did can could will would must not")

RELATIVES = _words("that which who whom whose where when")

PARTICIPLES = _words(
    """born borne bought broken built caught cast chosen cut done drawn driven drunk eaten fallen fed felt forbidden
    found fought forgotten founded frozen given gone grown held hidden hit hurt kept known laid led left lent lost
    made meant met paid put read run said seen sent set shot shown shut sold spent split spoken spread sung sunk
    sworn taken taught thought thrown told understood undergone won worn woven written"""
)
"""Irregular participles; regular ones end in -ed."""

NOT_PARTICIPLES = _words("bed breed creed deed feed greed need reed seed shed shred speed weed")

PREDICATE_ADJECTIVES = _words(
    """adjacent available coextensive coincident compatible different equal equivalent identical indigenous
    responsible separate similar unlike"""
)
"""Adjectives that name a relation: a phrase of such an adjective alone lacks a noun."""

SINGULAR_IN_S = _words(
    """alias arms asbestos atlas bias canvas chaos christmas cosmos diabetes ethos gas goods headquarters kudos lens
    mars means molasses news operations pancreas pathos politics rabies sales series species sports texas"""
)
"""Words in -s that may follow "What is the" or modify a noun; those in -ss, -us, -is and -ics need no list."""

PERSONS = _words(
    """actor actress architect astronaut aunt author bishop brother captain chairman chairperson chairwoman chancellor
    chief child coach colleague commander composer conductor cousin daughter dean deputy director discoverer doctor
    driver editor emperor empress engineer executive father friend godfather godmother godparent governor
    grandfather grandmother guitarist heir husband inventor judge king lawyer librettist lyricist manager mayor
    mentor minister mother musician nephew niece officer painter parent parents person photographer pilot player
    poet pope president priest prince princess principal professor programmer pupil queen rector ruler scientist
    screenwriter sculptor secretary sibling singer sister son songwriter spouse stepparent student supervisor
    surgeon teacher translator tutor uncle wife writer advisor adviser animator comedian curator dancer
    editor-in-chief historian illustrator journalist novelist pianist presenter relative violinist"""
)
"""Kinship, occupations and offices: "What is the ..." is wrong where the answer is a person."""

AGENTS = PERSONS | _words(
    """agent allies ally band beneficiary benefactor candidate cast champion client contributor creator creators crew
    customer defender deity designer developer disciple distributor donor employer enemy family founder god goddess
    guardian guest head hero host influence investor leader manufacturer member members model muse namesake narrator
    occupant operator organizer organiser opponent owner participant partner patron people performer proprietor
    producer proponent public publisher recipient relative representative rival runner-up saint sponsor star
    successor predecessor supporter target vendor victim victor voice winner"""
)
"""Roles of people, groups or firms: "Who is the ..." may ask for them."""

NOT_AGENTS = _words(
    """anchor border calendar center centre character chapter color colour computer container corner corridor counter
    cover disorder door factor flavor flavour floor flower former gender harbor harbour honor indicator labor
    labour layer letter liquor manner marker matter meter mirror motor neighbor number order other paper
    parameter pillar power precursor quarter river rumor sector sensor server shower suffer summer tenor theater
    theatre tower tumor vector volunteer water weather winter"""
)
"""Nouns in -er and -or that are not agents."""

ORGANISATION_WORDS = _words(
    """academy agency alliance architects army assembly associates association authority bank band board brothers bureau
    club committee company congress consortium corporation council department foundation global government group
    guild inc institute laboratories limited llc ltd ministry movement office orchestra organization organisation
    parliament partners party press productions project records school senate service society software solutions
    studio studios systems team technologies trust union university"""
)

ADMINISTRATIVE_WORDS = _words(
    """arrondissement borough canton cercle comarca commune county departement department district division emirate
    gmina governorate krai kreis landkreis metropolis municipality municipio oblast okrug parish partido powiat
    prefecture province raion regency region subdistrict taluk taluka tehsil territory township upazila
    voivodeship wilaya"""
)
"""A name with one of these words is an administrative area, so it is no capital."""

SUBJECT_ROLES = _words("citizen coach employee member part student")
"""First words of relation labels that, before "of", say what the subject is ("member of sports team")."""

SYMMETRIC_ROLES = _words("cousin opposite partner sibling spouse synonym twin")

COUNTRIES = _words(
    """afghanistan, albania, algeria, andorra, angola, argentina, armenia, australia, austria, azerbaijan,
    bahamas, bahrain, bangladesh, barbados, belarus, belgium, belize, benin, bhutan, bolivia, bosnia and herzegovina,
    botswana, brazil, brunei, bulgaria, burkina faso, burundi, cambodia, cameroon, canada, cape verde,
    central african republic, chad, chile, china, people's republic of china, colombia, comoros, costa rica, croatia,
    cuba, cyprus, czech republic, czechia, democratic republic of the congo, denmark, dominica, dominican republic,
    ecuador, egypt, el salvador, england, equatorial guinea, eritrea, estonia, eswatini, ethiopia, fiji, finland,
    france, gabon, gambia, the gambia, georgia, germany, ghana, greece, grenada, guinea, guinea-bissau, guyana, haiti,
    honduras, hungary, iceland, india, indonesia, iran, iraq, ireland, republic of ireland, israel, italy, ivory coast,
    jamaica, japan, jordan, kazakhstan, kenya, kiribati, kosovo, kyrgyzstan, laos, latvia, lebanon, lesotho, liberia,
    libya, liechtenstein, lithuania, madagascar, malawi, malaysia, maldives, mali, malta, marshall islands, mauritania,
    mauritius, moldova, mongolia, montenegro, morocco, mozambique, myanmar, namibia, nauru, nepal, netherlands,
    new zealand, nicaragua, niger, nigeria, north korea, north macedonia, norway, oman, pakistan, palau, palestine,
    state of palestine, papua new guinea, paraguay, peru, philippines, poland, portugal, qatar,
    republic of the congo, romania, russia, rwanda, samoa, saudi arabia, scotland, senegal, serbia, seychelles,
    sierra leone, slovakia, slovenia, solomon islands, somalia, south africa, south korea, south sudan, spain,
    sri lanka, sudan, suriname, sweden, switzerland, syria, taiwan, tajikistan, tanzania, thailand, timor-leste, togo,
    tonga, trinidad and tobago, tunisia, turkey, turkmenistan, tuvalu, uganda, ukraine, united arab emirates,
    united kingdom, united states, united states of america, uruguay, uzbekistan, vanuatu, venezuela, vietnam, wales,
    yemen, zambia, zimbabwe""",
    separator=",",
)
"""States other than city states: no state is a capital, so as an answer it reveals an inverted question."""

VACUOUS_RELATIONS = _words(
    """instance of, subclass of, different from, said to be the same as, partially coincident with,
    permanent duplicated item, topic's main category, described by source, has part(s), has parts,
    has part(s) of the class""",
    separator=",",
)
"""Relations that only place an item in the knowledge base and state no fact of the world about it."""

VACUOUS_PHRASES = frozenset({"instance", "subclass", "class", "kind", "type", "example", "sort", "item", "has part"})

PROPERTIES = {
    "P17": "country",
    "P30": "continent",
    "P31": "instance of",
    "P36": "capital",
    "P131": "located in the administrative territorial entity",
    "P150": "contains the administrative territorial entity",
    "P279": "subclass of",
    "P361": "part of",
    "P460": "said to be the same as",
    "P463": "member of",
    "P527": "has part(s)",
    "P1343": "described by source",
    "P1376": "capital of",
    "P1382": "partially coincident with",
    "P1830": "owner of",
    "P1889": "different from",
}
"""Labels of the properties whose direction the rules need, for tables that name relations by id alone."""
