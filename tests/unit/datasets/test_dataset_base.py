from pathlib import Path

import pytest

from hashrepro.datasets import base
from hashrepro.datasets.base import ReaderOptions, check_counts, load_reader, located, parse_options
from hashrepro.errors import UserError

READERS = [
    *("aircraft", "cifar10", "class_folders", "cub", "fashion_mnist", "flickr25k", "food101", "nabirds"),
    *("nuswide", "table", "vegfru"),
]


class Options(ReaderOptions):
    expect_query: int = 10
    expect_classes: int = 3


@pytest.mark.parametrize("name", READERS)
def test_every_reader_keeps_the_contract(name):
    reader = load_reader(name)
    source = reader.SOURCE
    assert all(
        (
            source.title,
            source.home,
            source.terms,
            source.citation,
            source.content,
            source.layout,
            source.files,
        )
    )
    assert issubclass(reader.Options, ReaderOptions)
    assert callable(reader.read)
    assert source.images is None or source.images == source.query + source.database
    for what in ("classes", "query", "database"):  # the counts stand in the options' defaults, too
        field = reader.Options.model_fields.get(f"expect_{what}")
        assert field is None or field.default is None or field.default == getattr(source, what)
    for archive in source.archives:
        assert all(url.startswith("https://") or archive.digest for url in archive.urls)
        assert archive.digest is None or archive.digest.partition(":")[0] in ("md5", "sha256")
        assert archive.urls or archive.by_hand


def test_an_unknown_reader_is_answered_with_those_there_are():
    with pytest.raises(UserError, match=", ".join(READERS)):
        load_reader("birds")


def test_only_readers_are_offered():
    for path in Path(base.__file__).parent.glob("*.py"):
        if path.stem not in READERS:
            with pytest.raises(UserError, match="unknown reader"):
                load_reader(path.stem)


def test_options_come_from_their_block():
    options = parse_options("birds50", load_reader("cub"), {"expect_classes": 50})
    assert (options.expect_classes, options.expect_query) == (50, 5794)
    assert parse_options("cub", load_reader("cub"), None).expect_classes == 200


@pytest.mark.parametrize("values", [{"expect_clases": 50}, {"expect_classes": "many"}])
def test_wrong_options_are_named_by_their_full_key(values):
    with pytest.raises(UserError, match=rf"datasets\.birds50\.options\.{next(iter(values))}"):
        parse_options("birds50", load_reader("cub"), values)


def test_right_counts_pass_and_wrong_ones_name_the_key_that_admits_them(tmp_path):
    reader = type("reader", (), {"Options": Options})
    options = parse_options("tiny", reader, {})
    check_counts(options, tmp_path, query=10, classes=3)
    with pytest.raises(UserError) as caught:
        check_counts(options, tmp_path, query=7, classes=3)
    assert "7 query found, 10 expected" in str(caught.value)
    assert "datasets.tiny.options.expect_query: 7" in str(caught.value)
    assert "expect_classes" not in str(caught.value)


def test_the_sets_folder_or_the_one_above_it_may_be_named(tmp_path):
    (tmp_path / "set").mkdir()
    assert located(tmp_path, "set") == tmp_path / "set"
    assert located(tmp_path / "set", "set") == tmp_path / "set"
    assert located(tmp_path, "") == tmp_path
