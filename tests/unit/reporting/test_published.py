import pytest

from hashrepro.errors import UserError
from hashrepro.reporting.published import read_published

HEAD = "paper,dataset,method,bits,map,source,verified\n"


def test_percent_and_fractions_come_out_as_fractions(tmp_path):
    (tmp_path / "percent.csv").write_text(
        HEAD + "P,CUB,ITQ,12,0.8,recalled,no\nP,CUB,ADSH,12,76.57,log,yes\n"
    )
    (tmp_path / "fraction.csv").write_text(HEAD + "P,CUB,ADSH,12,0.8898,Table 1,partly: read once\n")
    assert read_published(tmp_path / "percent.csv", {"CUB": "cub"})["map"].tolist() == pytest.approx(
        [0.008, 0.7657]
    )
    read = read_published(tmp_path / "fraction.csv", {"CUB": "cub"})
    assert read["map"].tolist() == [0.8898]
    assert read["verified"].tolist() == ["partly: read once"]
    assert read["dataset"].tolist() == ["cub"]


def test_other_data_sets_are_left_out(tmp_path):
    (tmp_path / "p.csv").write_text(HEAD + "P,CUB,A,12,0.5,s,yes\nP,Dogs,A,12,0.6,s,yes\n")
    assert read_published(tmp_path / "p.csv", {"Dogs": "dogs"})["map"].tolist() == [0.6]


@pytest.mark.parametrize(
    "row", ["P,C,A,12,,s,yes", "P,C,A,12,many,s,yes", "P,C,A,12,101,s,yes", "P,C,A,12,0.5,s,maybe"]
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, row):
    (tmp_path / "p.csv").write_text(HEAD + "P,C,A,12,0.5,s,yes\n" + row + "\n")
    with pytest.raises(UserError) as caught:
        read_published(tmp_path / "p.csv", {"C": "c"})
    assert str(caught.value.where).endswith("p.csv:3")


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / "p.csv").write_text("paper,dataset\nP,C\n")
    with pytest.raises(UserError, match="verified"):
        read_published(tmp_path / "p.csv", {})
