"""Indexes of every store and kind: searched, added to, moved, killed, damaged."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashrepro import files
from hashrepro.errors import UserError
from hashrepro.files import read_json, write_json
from hashrepro.retrieval.codes import Codes, random_codes
from hashrepro.retrieval.scores import first_hits
from hashrepro.search import folder
from hashrepro.search import index as index_module
from hashrepro.search.index import Added, Index
from hashrepro.search.items import Items
from hashrepro.search.kinds import STORES

FACTS = {
    "run": "adsh-tiny-12-s0",
    "suite": "quickstart",
    "dataset": "tiny",
    "catalog": "c" * 64,
    "model": "m" * 64,
    "class_names": ["one", "two"],
}
EVERY = [(store, kind) for store, kinds in STORES.items() for kind in kinds]
N, BITS = 400, 12
CODES = random_codes(N + 60, BITS, np.random.default_rng(0))
QUERIES = random_codes(5, BITS, np.random.default_rng(1))
ALL = Items.of(
    [f"it's image {i}" for i in range(N)] + [f"/added/{i}.png" for i in range(60)],
    [[i % 2] for i in range(N)] + [[] for _ in range(60)],
    ["learned"] * N + ["network"] * 60,
    paths=[""] * N + [f"/added/{i}.png" for i in range(60)],
    catalog_rows=[*range(10, N + 10), *[-1] * 60],
)
OLD, NEW = slice(0, N), slice(N, N + 60)


def build(folder, store="faiss", kind="flat", **options) -> Index:
    return Index.build(folder, CODES[OLD], ALL[OLD], FACTS, store=store, kind=kind, **options)


def contents(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def same_rows(index: Index, rows) -> bool:
    rows = np.asarray(rows, np.int64)
    kept = index.items(rows)
    return kept.table.equals(ALL[rows].table) and (index.codes(rows).packed == CODES[rows].packed).all()


def exact(codes: Codes, k: int):
    return first_hits(QUERIES, codes, np.arange(len(QUERIES)), k)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("k", [1, 30, N, 10 * N])
def test_a_flat_index_finds_what_sorting_finds_ties_by_row(tmp_path, store, k):
    index = build(tmp_path / "index", store)
    rows, distances = exact(CODES[OLD], k)
    hits = index.search(QUERIES, k)
    assert hits.rows.dtype == np.int64
    assert hits.distances.dtype == np.int32
    assert (hits.rows == rows).all()
    assert (hits.distances == distances).all()


@pytest.mark.parametrize(("store", "kind"), EVERY)
def test_what_is_added_is_found_behind_what_was_there(tmp_path, store, kind):
    index = build(tmp_path / "index", store, kind)
    opened_before = Index.open(tmp_path / "index")
    assert index.add(CODES[NEW], ALL[NEW]) == Added(60, 0)
    for one in (index, Index.open(tmp_path / "index")):
        assert len(one) == N + 60
        assert one.counts() == one.facts["counts"] == {"learned": N, "network": 60}
        assert one.facts["rows"] == N + 60
        rows, distances = exact(CODES, 50)
        hits = one.search_exact(QUERIES, 50)
        assert (hits.rows == rows).all()
        assert (hits.distances == distances).all()
        assert same_rows(one, [N + 5, 3, N, 3])
        assert same_rows(one, np.arange(N + 60))
        assert same_rows(one, [])
    assert len(opened_before) == N  # what another process has open stays whole
    assert same_rows(opened_before, [7])
    assert not list((tmp_path / "index").glob(f"*-{N}.*"))


@pytest.mark.parametrize(("store", "kind"), EVERY)
@pytest.mark.parametrize("n", [1, 2, 40])
def test_a_small_index_works(tmp_path, store, kind, n):
    index = Index.build(tmp_path / "i", CODES[:n], ALL[:n], FACTS, store=store, kind=kind)
    assert index.add(CODES[n : n + 1], ALL[n : n + 1]) == Added(1, 0)
    hits = index.search(QUERIES, n + 1)
    rows, distances = exact(CODES[: n + 1], n + 1)
    assert (hits.distances == distances).all()
    assert (hits.rows == rows).all()


def test_an_addition_between_two_steps_of_opening_is_noticed(tmp_path, monkeypatch):
    index = build(tmp_path / "index")
    readings = [dict(index.facts)]  # what is read first is out of date
    index.add(CODES[NEW], ALL[NEW])
    read = index_module.read_facts
    monkeypatch.setattr(
        index_module, "read_facts", lambda folder: readings.pop() if readings else read(folder)
    )
    assert len(Index.open(tmp_path / "index")) == N + 60


@pytest.mark.parametrize(("store", "kind"), [pair for pair in EVERY if pair[1] != "flat"])
def test_an_approximate_index_finds_codes_that_are_in_it_also_added_ones(tmp_path, store, kind):
    rng = np.random.default_rng(2)
    codes = random_codes(460, 48, rng)
    index = Index.build(tmp_path / "i", codes[OLD], ALL[OLD], FACTS, store=store, kind=kind)
    index.add(codes[NEW], ALL[NEW])
    asked = np.array([0, 17, N, N + 59])
    everywhere = {"probes": 400} if kind == "ivf" else {"search_effort": 460}
    hits = index.search(codes[asked], 3, parameters=everywhere)
    assert hits.rows[:, 0].tolist() == asked.tolist()
    assert hits.distances[:, 0].tolist() == [0] * 4
    order = np.lexsort((hits.rows, hits.distances), axis=1)
    assert (order == np.arange(3)).all()
    if kind == "ivf":  # all lists were read
        assert (hits.distances == index.search_exact(codes[asked], 3).distances).all()


def test_fewer_hits_than_asked_for_are_marked(tmp_path):
    index = build(tmp_path / "index", "faiss", "ivf", parameters={"lists": 10, "probes": 1})
    hits = index.search(QUERIES, N)
    assert (hits.rows[:, 0] >= 0).all()
    assert (hits.rows[:, -1] == -1).all()
    assert ((hits.rows == -1) == (hits.distances == -1)).all()


@pytest.mark.parametrize(("store", "kind"), EVERY)
def test_ids_that_are_there_are_skipped_and_counted(tmp_path, store, kind):
    index = build(tmp_path / "index", store, kind)
    index.add(CODES[NEW], ALL[NEW])
    assert index.contains(["/added/3.png", "it's image 4", "other"]).tolist() == [True, True, False]
    assert index.contains([]).tolist() == []
    assert index.contains(ALL.table["id"].combine_chunks()).all()
    before = contents(tmp_path / "index")
    assert index.add(CODES[NEW], ALL[NEW]) == Added(0, 60)
    assert contents(tmp_path / "index") == before
    twice = Items.of(["new", "it's image 4", "new"], [[0], [], [1]], "network")
    assert index.add(CODES[:3], twice) == Added(1, 2)
    assert index.items([N + 60]).labels == [[0]]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.integers(0, 25), min_size=1, max_size=4), kind=st.sampled_from(STORES["faiss"]))
def test_any_cut_of_an_addition_gives_the_same_rows(tmp_path, parts, kind):
    index = build(tmp_path / "index", "faiss", kind, force=True)
    start = N
    for size in parts:
        part = slice(start, min(start + size, N + 60))
        index.add(CODES[part], ALL[part])
        start = part.stop
    assert len(index) == start
    assert same_rows(index, np.arange(start))
    assert (index.search_exact(QUERIES, 20).rows == exact(CODES[:start], 20)[0]).all()


@pytest.mark.parametrize("kind", STORES["faiss"])
def test_the_same_input_gives_the_same_files(tmp_path, kind):
    for name in ("a", "b"):
        build(tmp_path / name, "faiss", kind)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("store", STORES)
def test_a_moved_index_works(tmp_path, store):
    build(tmp_path / "index", store)
    shutil.move(tmp_path / "index", tmp_path / "elsewhere")
    index = Index.open(tmp_path / "elsewhere")
    assert index.add(CODES[NEW], ALL[NEW]).added == 60
    assert (index.search(QUERIES, 9).rows == exact(CODES, 9)[0]).all()


def test_a_table_at_a_uri_is_found_from_anywhere_and_by_its_owner_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index = build(tmp_path / "index", "lancedb", uri="tables")
    monkeypatch.chdir("/")
    assert (tmp_path / "tables").is_dir()
    assert not (tmp_path / "index" / "lancedb").exists()
    assert (Index.open(tmp_path / "index").search(QUERIES, 9).rows == index.search(QUERIES, 9).rows).all()
    other = {**FACTS, "model": "other"}
    assert len(build(tmp_path / "c", "lancedb", uri=f"file://{tmp_path}/more tables")) == N
    assert (tmp_path / "more tables").is_dir()
    beside = {"store": "lancedb", "uri": str(tmp_path / "tables")}
    for rows in (9, 5):  # made, and replaced
        Index.build(tmp_path / "b", CODES[:rows], ALL[:rows], other, force=True, **beside)
        assert len(Index.open(tmp_path / "b")) == rows
    assert len(list((tmp_path / "tables").glob("*.lance"))) == 2  # the table that was replaced is gone
    assert len(Index.open(tmp_path / "index")) == N
    stored = read_json(tmp_path / "b" / "index.json")
    write_json(tmp_path / "b" / "index.json", {**stored, "bits": 30})
    with pytest.raises(UserError, match="belongs to another index"):
        Index.open(tmp_path / "b")


def test_no_folder_is_replaced_but_an_index_of_ours_alone(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.json").write_text('{"site": 1}')
    with pytest.raises(UserError, match="is no index"):
        build(site, force=True)
    build(tmp_path / "index")
    (tmp_path / "index" / "notes.txt").touch()
    with pytest.raises(UserError, match=r"other files, .*: notes\.txt"):
        build(tmp_path / "index", force=True)
    (tmp_path / "index" / "notes.txt").unlink()
    (tmp_path / "index" / "index.json").write_text("{")
    (tmp_path / "index" / "encoder.json").touch()
    build(tmp_path / "index", force=True)  # a damaged one is replaced


def test_codes_of_a_network_that_was_replaced_meanwhile_are_refused(tmp_path):
    before = build(tmp_path / "index")
    Index.build(tmp_path / "index", CODES[OLD], ALL[OLD], {**FACTS, "model": "other"}, force=True)
    with pytest.raises(UserError, match="made again with another network"):
        before.add(CODES[NEW], ALL[NEW])
    assert len(Index.open(tmp_path / "index")) == N


def test_what_is_missing_of_an_index_is_said_with_the_command(tmp_path):
    index = build(tmp_path / "faiss")
    write_json(tmp_path / "faiss" / "index.json", {"format": folder.FORMAT, **index.facts, "files": {}})
    with pytest.raises(UserError, match="which files it has") as error:
        Index.open(tmp_path / "faiss")
    assert error.value.mend.endswith(f"hashrepro index {FACTS['run']} --force --out {tmp_path / 'faiss'}")
    index = build(tmp_path / "lance", "lancedb")
    for data in (tmp_path / "lance").rglob("data"):
        shutil.rmtree(data)
    with pytest.raises(UserError, match="cannot be read"):
        index.search(QUERIES, 3)


class Killed(BaseException):
    """Stands for the end of the process."""


def killed(*_, **__):
    raise Killed


@pytest.mark.parametrize(("store", "kind"), EVERY)
def test_an_addition_killed_before_its_last_step_can_be_repeated(tmp_path, monkeypatch, store, kind):
    index = build(tmp_path / "index", store, kind)
    with monkeypatch.context() as patched:
        patched.setattr(index_module, "write_facts", killed)
        with pytest.raises(Killed):
            index.add(CODES[NEW], ALL[NEW])
    assert len(index) == N
    for one in (index, Index.open(tmp_path / "index")):
        there = len(one)  # LanceDB has all of them already, faiss none
        assert there in (N, N + 60)
        assert sum(one.facts["counts"].values()) == one.facts["rows"] == there
        assert (one.search_exact(QUERIES, 9).rows == exact(CODES[:there], 9)[0]).all()
        assert same_rows(one, np.arange(there))
    added = index.add(CODES[NEW], ALL[NEW])
    assert added.added + added.skipped == 60
    assert same_rows(Index.open(tmp_path / "index"), np.arange(N + 60))


@pytest.mark.parametrize("call", range(3))  # codes, items, index.json
def test_an_addition_killed_while_it_writes_leaves_the_old_index(tmp_path, monkeypatch, call):
    index, calls = build(tmp_path / "index"), []
    before = contents(tmp_path / "index")
    replace = files.replace

    def replace_or_be_killed(made, path):
        calls.append(path)
        if len(calls) > call:
            made.rename(made.with_name(f".{path.name}.1.part"))  # a killed process does not clean up
            raise Killed
        replace(made, path)

    with monkeypatch.context() as patched:
        patched.setattr(files, "replace", replace_or_be_killed)
        with pytest.raises(Killed):
            index.add(CODES[NEW], ALL[NEW])
    now = contents(tmp_path / "index")
    assert {name: now[name] for name in before} == before
    assert len(Index.open(tmp_path / "index")) == len(index) == N
    assert index.add(CODES[NEW], ALL[NEW]) == Added(60, 0)
    assert same_rows(Index.open(tmp_path / "index"), np.arange(N + 60))
    left = {p.name for p in (tmp_path / "index").iterdir()}
    assert left == {".lock", "index.json", f"codes-{N + 60}.faiss", f"items-{N + 60}.parquet"}


def test_a_build_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(Killed):
        build(tmp_path / "index", beside=killed)
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_beside_comes_with_the_index(tmp_path):
    build(tmp_path / "index", beside=lambda folder: (folder / "encoder.json").write_text("{}"))
    assert (tmp_path / "index" / "encoder.json").read_text() == "{}"


def test_an_index_is_replaced_only_by_force_and_anything_else_never(tmp_path):
    build(tmp_path / "index")
    with pytest.raises(UserError, match="There is an index already"):
        build(tmp_path / "index", kind="ivf")
    assert build(tmp_path / "index", kind="ivf", force=True).facts["kind"] == "ivf"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dear.jpg").write_text("dear")
    (tmp_path / "file").write_text("dear")
    for name in ("photos", "file"):
        with pytest.raises(UserError, match="is no index"):
            build(tmp_path / name, force=True)
    assert (tmp_path / "photos" / "dear.jpg").exists()
    (tmp_path / "empty").mkdir()
    assert len(build(tmp_path / "empty")) == N


def test_the_order_in_which_a_table_lies_does_not_matter(tmp_path, monkeypatch):
    build(tmp_path / "first", "lancedb")
    module = sys.modules["hashrepro.search.lancedb_store"]
    batches = module._batches

    def backwards(*arguments):  # as LanceDB may leave them when it merges fragments
        table = batches(*arguments).read_all()
        return table.take(np.arange(len(table))[::-1]).to_reader(max_chunksize=70)

    monkeypatch.setattr(module, "_batches", backwards)
    index = build(tmp_path / "index", "lancedb")
    index.add(CODES[NEW], ALL[NEW])
    some = [N + 5, 3, N, 3, 250]
    assert same_rows(index, some)
    assert (index.search(QUERIES, 50).rows == exact(CODES, 50)[0]).all()
    monkeypatch.setattr(module, "_VALUES_A_FILTER", 2)  # now too many to be asked for one by one
    assert same_rows(index, some)
    assert same_rows(index, np.arange(N + 60))


def test_many_ids_are_looked_up_as_few_are(tmp_path, monkeypatch):
    index = build(tmp_path / "index", "lancedb")
    ids = ["other", *ALL.ids[::-3], "other"]
    few = index.contains(ids)
    assert few.tolist() == [name in set(ALL[OLD].ids) for name in ids]
    monkeypatch.setattr(sys.modules["hashrepro.search.lancedb_store"], "_VALUES_WORTH_A_PASS", 3)
    assert (index.contains(ids) == few).all()


HOLD = """
import sys
from hashrepro.files import locked
with locked(sys.argv[1], "held"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_only_one_command_adds_at_a_time(tmp_path):
    index = build(tmp_path / "index")
    command = [sys.executable, "-c", HOLD, str(tmp_path / "index" / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="Another command is adding"):
            index.add(CODES[NEW], ALL[NEW])
        other.stdin.close()
    assert index.add(CODES[NEW], ALL[NEW]).added == 60


@pytest.mark.parametrize("part", ["codes", "items"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_file_is_named(tmp_path, part, damage):
    build(tmp_path / "index")
    path = next((tmp_path / "index").glob(f"{part}-*"))
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        half = len(content) // 2
        path.write_bytes(
            content[:half]
            + (b"" if damage == "truncated" else bytes([content[half] ^ 1]) + content[half + 1 :])
        )
    with pytest.raises(UserError, match=r"damaged|missing") as caught:
        Index.open(tmp_path / "index")
    assert path.name in str(caught.value)
    assert "hashrepro index adsh-tiny-12-s0 --force" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no index here"),
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": "hashrepro index, version 9"}', "another format"),
        ('{"run"', "cannot be read"),
    ],
)
def test_a_folder_that_is_no_index_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "index.json").write_text(text)
    with pytest.raises(UserError, match=message):
        Index.open(tmp_path)


@pytest.mark.parametrize("missing", ["class_names", "bits", "files", "store"])
def test_an_incomplete_description_is_refused(tmp_path, missing):
    build(tmp_path / "index")
    path = tmp_path / "index" / "index.json"
    facts = json.loads(path.read_text())
    del facts[missing]
    path.write_text(json.dumps(facts))
    with pytest.raises(UserError, match=missing):
        Index.open(tmp_path / "index")


def test_codes_and_items_that_do_not_belong_together_are_refused(tmp_path):
    build(tmp_path / "a")
    Index.build(tmp_path / "b", CODES[:50], ALL[:50], FACTS)
    mixed = json.loads((tmp_path / "a" / "index.json").read_text())
    mixed["files"]["items"] = json.loads((tmp_path / "b" / "index.json").read_text())["files"]["items"]
    shutil.copy(tmp_path / "b" / "items-50.parquet", tmp_path / "a")
    (tmp_path / "a" / "index.json").write_text(json.dumps(mixed))
    with pytest.raises(UserError, match="400 codes of 64 bits for 50 items"):
        Index.open(tmp_path / "a")


def test_a_table_that_is_gone_is_named(tmp_path):
    build(tmp_path / "index", "lancedb")
    shutil.rmtree(tmp_path / "index" / "lancedb")
    with pytest.raises(UserError, match="cannot be opened"):
        Index.open(tmp_path / "index")


def test_without_lancedb_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    monkeypatch.delitem(sys.modules, "hashrepro.search.lancedb_store", raising=False)
    with pytest.raises(UserError, match=r"pip install lancedb"):
        build(tmp_path / "index", "lancedb")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_indexed_or_searched_is_refused(tmp_path):
    unset = Codes(CODES.packed[:2] * 0, BITS, np.array([True, False]))
    folder = tmp_path / "index"
    with pytest.raises(UserError, match="1 of 2 database codes were never set"):
        Index.build(folder, unset, ALL[:2], FACTS)
    with pytest.raises(UserError, match="3 codes for 2 items"):
        Index.build(folder, CODES[:3], ALL[:2], FACTS)
    with pytest.raises(UserError, match="nothing to index"):
        Index.build(folder, CODES[:0], ALL[:0], FACTS)
    with pytest.raises(UserError, match="1 ids come more than once"):
        Index.build(folder, CODES[:2], ALL[[4, 4]], FACTS)
    with pytest.raises(UserError, match="has no URI"):
        Index.build(folder, CODES[:2], ALL[:2], FACTS, uri="s3://bucket")
    with pytest.raises(UserError, match="lack model"):
        Index.build(folder, CODES[:2], ALL[:2], {k: v for k, v in FACTS.items() if k != "model"})
    with pytest.raises(UserError, match=r"LanceDB cannot .* 'foo'"):
        build(folder, "lancedb", uri="foo://bucket")
    assert not folder.exists()

    index = build(folder)
    with pytest.raises(UserError, match="query codes have 24 bits, the index 12"):
        index.search(random_codes(1, 24, np.random.default_rng(0)), 5)
    with pytest.raises(UserError, match="added codes have 24 bits"):
        index.add(random_codes(60, 24, np.random.default_rng(0)), ALL[NEW])
    with pytest.raises(UserError, match="1 of 2 query codes"):
        index.search(unset, 5)
    with pytest.raises(UserError, match="cannot return 0 rows"):
        index.search(QUERIES, 0)
    with pytest.raises(UserError, match="no parameter probes"):
        index.search(QUERIES, 5, parameters={"probes": 3})
    with pytest.raises(IndexError):
        index.items([N])
    with pytest.raises(IndexError):
        index.codes([-1])


def test_no_query_has_no_hits(tmp_path):
    for store, kind in EVERY:
        hits = build(tmp_path / f"{store}-{kind}", store, kind).search(QUERIES[:0], 4)
        assert hits.rows.shape == hits.distances.shape == (0, 4)
