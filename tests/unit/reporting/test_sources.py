import pytest

from hashrepro.errors import UserError
from hashrepro.reporting.sources import Sources

SOURCES = """paper,dataset,method,title,ours,backbone,selected,convention,comparable,note
P,Cars (own split);Boats,A (net),p,a,net,last,reference,another recipe,
P,*,A (net),p,a,net,best_on_test,reference,yes,best
P,*,*,p,,,best_on_test,reference,yes,
Q,Cars;Planes,A,q,a,,best_on_test,reference,yes,unread
"""
PROTOCOLS = """dataset,of,queries,database,difference,ranks
Cars,Cars,10,200,,all
Cars (own split),Cars,,,another split,
"""


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "sources.csv").write_text(SOURCES)
    (tmp_path / "protocols.csv").write_text(PROTOCOLS)
    return Sources(tmp_path)


def figure(**more):
    return {"paper": "P", "label": "Cars", "method": "A (net)"} | more


def test_the_first_row_that_fits_says_how_a_source_counts(sources):
    assert sources.resolved(figure())["selected"] == "best_on_test"
    assert sources.resolved(figure(label="Boats"))["selected"] == "last"
    assert sources.resolved(figure(method="B"))["ours"] == ""


def test_what_keeps_a_figure_from_being_compared_is_said_in_one_line(sources):
    assert sources.resolved(figure())["difference"] == ""
    assert sources.resolved(figure(label="Boats"))["difference"] == "another recipe"
    assert sources.resolved(figure(label="Cars (own split)"))["difference"] == "another recipe; another split"


def test_a_protocol_has_its_sizes_and_an_unknown_one_none(sources):
    found = sources.resolved(figure())
    assert (found["queries"], found["database"]) == (10, 200)
    assert str(sources.resolved(figure(label="Boats"))["queries"]) == "nan"


def test_labels_of_other_protocols_stand_for_the_same_data_set(sources):
    assert sources.names({"Cars": "cars"}) == {"Cars": "cars", "Cars (own split)": "cars"}
    assert sources.names({"Cars (own split)": "mine"}) == {"Cars (own split)": "mine"}


def test_a_source_that_is_not_known_is_named(sources):
    with pytest.raises(UserError, match=r"A \(net\) on Cars of “Rumour”") as caught:
        sources.resolved(figure(paper="Rumour"))
    assert str(caught.value.where).endswith("sources.csv")


def test_a_table_that_nobody_has_read_has_a_row_a_data_set(sources):
    names = {"Cars": "cars", "Planes": "planes"}
    known = [{"paper": "Q", "label": "Planes", "method": "A"}]
    found = sources.unread(known, names)
    assert [(row["paper"], row["dataset"], row["ours"], row["bits"]) for row in found] == [
        ("Q", "cars", "a", 0)
    ]
    assert str(found[0]["map"]) == "nan"
    assert {row["dataset"] for row in sources.unread([], names)} == {"cars", "planes"}


def test_a_file_without_a_column_is_named(tmp_path):
    (tmp_path / "sources.csv").write_text("paper,dataset\n")
    with pytest.raises(UserError, match="comparable"):
        Sources(tmp_path).resolved(figure())
