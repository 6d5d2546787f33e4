import numpy as np
import pytest

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes
from hashrepro.retrieval.conventions import (
    ADSH,
    EXPECTED,
    FISH,
    NAMED,
    REFERENCE_SCHN,
    REFERENCE_SEMICON,
    THULAB,
    TREC,
    Convention,
    convention,
    list_length,
    searched_rows,
)


def test_conventions_are_found_by_name():
    assert convention("expected") is EXPECTED
    assert convention("semicon") is REFERENCE_SEMICON
    assert convention("schn") is REFERENCE_SCHN
    assert convention("adsh") is ADSH
    assert convention("fish") is FISH
    assert convention("thulab") is THULAB
    assert convention("trec") is TREC
    assert convention("thulab", 1000) == Convention("file_order", "retrieved", "skip", 1000)
    assert convention("schn", 5000) == Convention("file_order", "retrieved", "zero", 5000)


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(UserError, match="'hashnets'") as caught:
        convention("hashnets")
    assert "expected, semicon, schn, adsh, fish, thulab, trec" in caught.value.mend


def test_descriptions_say_everything_that_differs():
    rules = [EXPECTED, REFERENCE_SEMICON, ADSH, convention("schn", 5000), THULAB, TREC]
    texts = [rule.describe() for rule in rules]
    assert len(set(texts)) == len(texts)
    assert all("\n" not in text for text in texts)
    assert "without its last item" in texts[1]
    assert "first 5000 ranks" in texts[3]
    assert "random order" in texts[0]


@pytest.mark.parametrize(("top_k", "length"), [(None, 10), ("drop_last", 9), (1, 1), (10, 10), (50, 10)])
def test_list_length(top_k, length):
    assert list_length(top_k, 10) == length


@pytest.mark.parametrize("top_k", [-1, 0, 2.0, True, "all"])
def test_other_list_lengths_are_refused(top_k):
    with pytest.raises(UserError, match="cannot be cut off"):
        Convention("expected", "retrieved", "zero", top_k)


@pytest.mark.parametrize(
    "fields",
    [("random", "retrieved", "zero"), ("best", "none", "zero"), ("best", "retrieved", "nan")],
)
def test_unknown_values_are_refused(fields):
    with pytest.raises(UserError, match="is not a value of"):
        Convention(*fields, None)


def test_rows_without_a_code_are_searched_or_left_out():
    values = np.ones((260, 16))
    values[[3, 50, 51]] = 0
    database = Codes.pack(values)
    np.testing.assert_array_equal(searched_rows(database, "rank"), np.arange(260))
    np.testing.assert_array_equal(searched_rows(database, "drop"), np.delete(np.arange(260), [3, 50, 51]))
    with pytest.raises(UserError, match="not a value of uncoded"):
        searched_rows(database, "hide")
    with pytest.raises(UserError, match="No database row has a code"):
        searched_rows(Codes.pack(np.zeros((4, 8))), "drop")


def test_the_list_lengths_of_the_named_conventions_are_those_of_their_code_bases():
    lengths = {name: rule.top_k for name, rule in NAMED.items()}
    whole = dict.fromkeys(("expected", "adsh", "fish", "trec"))
    assert lengths == whole | {"semicon": "drop_last", "schn": "drop_last", "thulab": 5000}
