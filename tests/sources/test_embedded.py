"""The embedded snapshot: what it holds, that it answers like an endpoint, and that it can be built again."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import requests

from dual_data.errors import Refused
from dual_data.sources.embedded import EmbeddedGraph
from tests.cli.command import ROOT
from tests.services import require
from tests.services.oxigraph import oxigraph

PREFIXES = """\
PREFIX p: <http://www.wikidata.org/prop/>
PREFIX pq: <http://www.wikidata.org/prop/qualifier/>
PREFIX prov: <http://www.w3.org/ns/prov#>
PREFIX ps: <http://www.wikidata.org/prop/statement/>
PREFIX psv: <http://www.wikidata.org/prop/statement/value/>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
PREFIX schema: <http://schema.org/>
PREFIX wd: <http://www.wikidata.org/entity/>
PREFIX wdt: <http://www.wikidata.org/prop/direct/>
PREFIX wikibase: <http://wikiba.se/ontology#>
"""
MEMBERS = "SELECT ?s WHERE { ?s wdt:P31/wdt:P279* wd:Q6256 }"
RELATION = """SELECT ?s ?o ?ol WHERE { ?s wdt:P31/wdt:P279* wd:Q10864048 ; wdt:P17 ?o .
  OPTIONAL { ?o wikibase:sitelinks ?on } OPTIONAL { ?o rdfs:label ?ol FILTER(LANG(?ol) = "en") } }"""
SUBJECTS = """SELECT ?s ?p ?o WHERE { VALUES ?s { wd:Q142 wd:Q183 wd:Q980 } ?s ?p ?o .
  FILTER(?p IN (wdt:P17, wdt:P30, wdt:P298)) }"""


@pytest.fixture(scope="module")
def graph() -> EmbeddedGraph:
    """The snapshot, loaded once."""
    return EmbeddedGraph()


def rows(graph: EmbeddedGraph, query: str) -> list[dict[str, str]]:
    """Bindings with ids instead of IRIs."""
    bindings = graph.select(PREFIXES + query)["results"]["bindings"]
    return [{name: term["value"].rsplit("/", 1)[-1] for name, term in row.items()} for row in bindings]


def count(graph: EmbeddedGraph, pattern: str) -> int:
    return int(rows(graph, f"SELECT (COUNT(*) AS ?n) WHERE {{ {pattern} }}")[0]["n"])


def text() -> bytes:
    return gzip.decompress(files("dual_data.sources.embedded").joinpath("snapshot.nt.gz").read_bytes())


def test_what_is_written_about_the_snapshot_is_true(graph: EmbeddedGraph) -> None:
    snapshot = graph.sources["snapshot"]
    assert hashlib.sha256(text()).hexdigest() == snapshot["sha256"] == graph.sha256
    assert text().count(b"\n") == snapshot["triples"]
    assert count(graph, "?s a wikibase:Item") == snapshot["entities"]
    assert count(graph, "?s a wikibase:Statement") == snapshot["facts"] == sum(graph.sources["facts"].values())
    for name, facts in graph.sources["facts"].items():
        assert count(graph, f"?s wdt:{name} ?o") == facts, name
    for name, source in graph.sources["sources"].items():
        assert count(graph, f"?st prov:wasDerivedFrom <urn:dual-data:embedded:source:{name}>") == source["facts"]
        assert files("dual_data.sources.embedded").joinpath("licenses", f"{name}.txt").read_text().strip()


def test_the_sources_agree_on_iso_codes(graph: EmbeddedGraph) -> None:
    assert graph.sources["compared"]["P298"] >= 250
    for name in ("P297", "P298", "P299", "P300"):
        assert count(graph, f"?a wdt:{name} ?x . ?a wdt:{name} ?y . FILTER(?x != ?y)") == 0
        assert count(graph, f"?a wdt:{name} ?x . ?b wdt:{name} ?x . FILTER(?a != ?b)") == 0


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("?st a wikibase:Statement FILTER NOT EXISTS { ?st wikibase:rank ?r }", id="no rank"),
        pytest.param("?st wikibase:rank ?a, ?b FILTER(?a != ?b)", id="two ranks"),
        pytest.param("?st a wikibase:Statement FILTER NOT EXISTS { ?st a wikibase:BestRank }", id="not best"),
        pytest.param("?st a wikibase:Statement FILTER NOT EXISTS { ?st prov:wasDerivedFrom ?x }", id="no source"),
        pytest.param(
            "?x wikibase:claim ?p ; wikibase:statementProperty ?ps ; wikibase:directClaim ?wdt . "
            "?s ?p ?st . ?st ?ps ?o FILTER NOT EXISTS { ?s ?wdt ?o }",
            id="statement without truthy triple",
        ),
        pytest.param(
            "?x wikibase:claim ?p ; wikibase:statementProperty ?ps ; wikibase:directClaim ?wdt . "
            "?s ?wdt ?o FILTER NOT EXISTS { ?s ?p ?st . ?st ?ps ?o }",
            id="truthy triple without statement",
        ),
        pytest.param(
            "?x wikibase:directClaim ?wdt . ?s ?wdt ?o FILTER(isIRI(?o)) "
            'FILTER NOT EXISTS { ?o rdfs:label ?l FILTER(LANG(?l) = "en") }',
            id="object without label",
        ),
        pytest.param("?s a wikibase:Item ; rdfs:label ?a, ?b FILTER(?a != ?b)", id="two labels"),
        pytest.param("?x wikibase:directClaim ?wdt . ?s ?wdt ?s", id="fact about itself"),
        pytest.param("?a wdt:P47 ?b FILTER NOT EXISTS { ?b wdt:P47 ?a }", id="one-sided border"),
        pytest.param("?s wikibase:sitelinks ?n", id="sitelinks, which no source has"),
        pytest.param("?s wdt:P36 ?o", id="capitals, which no source has by id"),
    ],
)
def test_the_graph_has_no(graph: EmbeddedGraph, broken: str) -> None:
    assert count(graph, broken) == 0


def test_classes_of_a_topic(graph: EmbeddedGraph) -> None:
    countries = {row["s"] for row in rows(graph, MEMBERS)}
    assert {"Q142", "Q183", "Q30", "Q865"} <= countries  # France, Germany, United States, Taiwan
    assert not {"Q980", "Q1410", "Q46", "Q15180"} & countries  # Bavaria, Gibraltar, Europe, Soviet Union
    assert 190 <= len(countries) <= 210


def test_a_relation_of_all_members_of_a_class(graph: EmbeddedGraph) -> None:
    facts = {(row["s"], row["o"], row["ol"]) for row in rows(graph, RELATION)}
    assert ("Q99", "Q30", "United States of America") in facts  # California
    assert ("Q1498", "Q668", "India") in facts  # Uttar Pradesh
    assert len(facts) >= 280


def test_several_relations_of_given_subjects(graph: EmbeddedGraph) -> None:
    facts = {(row["s"], row["p"], row["o"]) for row in rows(graph, SUBJECTS)}
    assert facts == {
        ("Q142", "P30", "Q46"),
        ("Q142", "P298", "FRA"),
        ("Q183", "P30", "Q46"),
        ("Q183", "P298", "DEU"),
        ("Q980", "P17", "Q183"),
    }


@pytest.mark.parametrize(
    ("subject", "name", "value"),
    [
        ("Q142", "P297", "FR"),
        ("Q142", "P299", "250"),
        ("Q142", "P47", "Q155"),  # in French Guiana, France borders on Brazil
        ("Q99", "P47", "Q824"),  # California and Oregon
        ("Q142", "P1448", "French Republic"),
        ("Q142", "P1622", "Q14565199"),  # right
        ("Q17", "P1622", "Q13196750"),  # left, in Japan
        ("Q20", "P298", "NOR"),  # Natural Earth's plain column has none for Norway
        ("Q155", "P2936", "Q5146"),  # Brazil: Portuguese
        ("Q155", "P474", "+55"),
        ("Q16957", "P1366", "Q183"),  # East Germany, replaced by Germany
        ("Q33946", "P31", "Q3024240"),  # Czechoslovakia, a historical country
        ("Q16641", "P31", "Q161243"),  # American Samoa, a dependent territory
        ("Q1321", "P220", "spa"),
        ("Q46", "P2082", "150"),
    ],
)
def test_known_facts(graph: EmbeddedGraph, subject: str, name: str, value: str) -> None:
    assert value in [row["o"] for row in rows(graph, f"SELECT ?o WHERE {{ wd:{subject} wdt:{name} ?o }}")]


def test_islands_have_no_borders(graph: EmbeddedGraph) -> None:
    for item in ("Q664", "Q17", "Q782"):  # New Zealand, Japan, Hawaii
        assert count(graph, f"wd:{item} wdt:P47 ?o") == 0


def test_disputed_territories_have_no_country(graph: EmbeddedGraph) -> None:
    withheld = {entry["item"] for entry in graph.sources["withheld"] if "P17" in entry["what"]}
    assert {"Q756294", "Q7835", "Q7525"} <= withheld  # Crimea, twice, and Sevastopol
    for item in withheld:
        assert count(graph, f"wd:{item} wdt:P17 ?o") == 0


def test_no_language_is_stated_where_the_source_names_one_of_another_place(graph: EmbeddedGraph) -> None:
    withheld = {entry["item"] for entry in graph.sources["withheld"] if entry["what"] == "P2936"}
    # Kabardino-Balkaria and Karachay-Cherkessia with Kabyle, Tripura with Tsamai, Khabarovsk Krai with Khakas
    assert withheld == {"Q5267", "Q5328", "Q1363", "Q7788"}
    for item in withheld:
        assert count(graph, f"wd:{item} wdt:P2936 ?o") == 0
    for language in ("Q35853", "Q2371358"):  # Kabyle and Tsamai
        assert count(graph, f"?s wdt:P2936 wd:{language}") == 0


def test_a_quantity_has_its_value_node_and_year(graph: EmbeddedGraph) -> None:
    bindings = rows(
        graph,
        """SELECT ?amount ?unit ?time ?precision WHERE { wd:Q142 p:P1082 ?st .
        ?st psv:P1082 [ wikibase:quantityAmount ?amount ; wikibase:quantityUnit ?unit ] ; pq:P585 ?time ;
        <http://www.wikidata.org/prop/qualifier/value/P585> [ wikibase:timePrecision ?precision ] }""",
    )
    assert bindings == [{"amount": "67059887", "unit": "Q199", "time": "2019-01-01T00:00:00Z", "precision": "9"}]


def test_articles_are_where_wikidata_has_them(graph: EmbeddedGraph) -> None:
    query = """SELECT ?t WHERE { ?a schema:about wd:Q142 ; schema:isPartOf <https://en.wikipedia.org/> ;
        schema:name ?t }"""
    assert rows(graph, query) == [{"t": "France"}]


@pytest.mark.parametrize("query", [MEMBERS, RELATION, SUBJECTS])
def test_a_real_server_answers_the_same_text_alike(graph: EmbeddedGraph, query: str) -> None:
    with oxigraph(text().decode(), suffix="nt") as root:
        answer = requests.post(
            f"{root}/query",
            data=(PREFIXES + query).encode(),
            headers={"Content-Type": "application/sparql-query", "Accept": "application/sparql-results+json"},
            timeout=30,
        ).json()
    embedded = graph.select(PREFIXES + query)
    assert embedded.keys() == answer.keys()
    assert embedded["head"]["vars"] == answer["head"]["vars"]

    def order(results: dict[str, Any]) -> list[str]:
        return sorted(str(sorted(row.items())) for row in results["results"]["bindings"])

    assert order(embedded) == order(answer)
    assert order(embedded)


def test_ask_is_answered(graph: EmbeddedGraph) -> None:
    assert graph.select(PREFIXES + "ASK { wd:Q142 wdt:P30 wd:Q46 }")["boolean"] is True


def test_a_query_that_is_not_sparql_is_refused(graph: EmbeddedGraph) -> None:
    with pytest.raises(Refused, match=r"not a SPARQL 1\.1 query"):
        graph.select("SELECT nothing")


def test_without_the_extra_the_message_names_it() -> None:
    code = (
        "import sys; sys.modules['pyoxigraph'] = None\n"
        "from dual_data.errors import MissingExtra\n"
        "from dual_data.sources.embedded import EmbeddedGraph\n"
        "try: EmbeddedGraph().select('ASK {}')\n"
        "except MissingExtra as error: print(error)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pip install -e '{ROOT}[embedded]'" in process.stdout


def test_importing_the_module_imports_no_engine() -> None:
    code = "import sys, dual_data.sources.embedded; print('pyoxigraph' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "False"


def test_the_packages_give_the_same_snapshot_again(graph: EmbeddedGraph, tmp_path: Path) -> None:
    modules = Path(os.environ.get("DUAL_DATA_NODE_MODULES", "node_modules")).resolve()
    library = Path(os.environ.get("DUAL_DATA_R_LIBRARY", "/usr/lib/R/site-library"))
    require(shutil.which("node"), "node is not installed")
    require((modules / "@rapideditor/country-coder").is_dir(), "no country-coder (DUAL_DATA_NODE_MODULES)")
    require((modules / "wikidata-lang").is_dir(), "no wikidata-lang (DUAL_DATA_NODE_MODULES)")
    require((library / "rnaturalearthdata").is_dir(), "no rnaturalearthdata (DUAL_DATA_R_LIBRARY)")
    for package in ("rdata", "rigour"):
        require(importlib.util.find_spec(package), f"the package {package} is not installed")
    command = [sys.executable, "-m", "scripts.build_embedded", "--modules", str(modules), "--library", str(library)]
    subprocess.run([*command, "--out", str(tmp_path)], check=True, cwd=Path(__file__).parents[2])
    assert gzip.decompress((tmp_path / "snapshot.nt.gz").read_bytes()) == text()
    shipped = files("dual_data.sources.embedded")
    assert (tmp_path / "sources.toml").read_text() == shipped.joinpath("sources.toml").read_text()
    assert (tmp_path / "snapshot.nt.gz").stat().st_size < 600_000
