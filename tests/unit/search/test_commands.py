"""The commands around an index, as they are typed, on a repository with two finished runs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from hashrepro.cli import main
from hashrepro.files import read_json
from hashrepro.images.cache import ImageCache, build_cache
from hashrepro.retrieval.codes import Codes, read_codes
from hashrepro.search.encoder import Encoder
from hashrepro.search.index import Index

ADSH, SEMICON = "adsh-birds-12-s0", "semicon-birds-12-s0"


@pytest.fixture
def hashrepro(repository, capsys):
    """A function: run a command; its output. What it says of an error, if it is to fail."""

    def command(*words, code=0) -> str:
        assert main([str(word) for word in words]) == code
        output = capsys.readouterr()
        if code:
            return output.err
        assert "hashrepro:" not in output.err
        return output.out

    return command


def built(repository, key=ADSH) -> Index:
    return Index.open(repository.root / "indexes" / "quickstart" / key)


def answers(hashrepro, *words) -> list[dict]:
    return json.loads(hashrepro("search", *words, "--json"))


def new_images(repository, count=5) -> Path:
    folder = repository.root / "new"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(7)
    for number in range(count):
        pixels = rng.integers(0, 256, (41, 44, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("deep" if number % 2 else "") / f"{number}.png")
    return folder


def test_search_by_image_gives_the_nearest_codes(repository, hashrepro):
    hashrepro("index", ADSH)
    (answer,) = answers(hashrepro, "--image", repository.files[13], "-k", 5)
    codes, _ = read_codes(repository.run("adsh") / "codes.safetensors")
    learned, network = codes["learned"].unpack(), codes["network"].unpack()
    database = np.where(learned.any(axis=1, keepdims=True), learned, network)
    values = Encoder.open(built(repository).folder, torch.device("cpu")).encode_files([repository.files[13]])
    distances = (database != np.where(values >= 0, 1, -1)).sum(axis=1)
    nearest = np.argsort(distances, kind="stable")[:5]
    assert [hit["row"] for hit in answer["hits"]] == nearest.tolist()
    assert [hit["distance"] for hit in answer["hits"]] == distances[nearest].tolist()
    assert [hit["id"] for hit in answer["hits"]] == [repository.catalog.ids[row] for row in nearest]
    assert answer["query"] == {"id": str(repository.files[13]), "labels": None}


@pytest.mark.parametrize("key", [ADSH, SEMICON])
def test_a_query_by_number_is_the_search_for_its_image(repository, hashrepro, key):
    hashrepro("index", key)
    by_number = answers(hashrepro, "--query", 4, 1, "-k", 12)
    by_image = answers(hashrepro, "--image", repository.files[16], repository.files[13], "-k", 12)
    strip = [[{**hit, "right": None} for hit in answer["hits"]] for answer in by_number]
    assert strip == [answer["hits"] for answer in by_image]
    assert by_number[0]["query"] == {"id": "16.png", "labels": ["green bird"]}
    for hit in by_number[0]["hits"]:
        assert hit["right"] == (hit["labels"] == ["green bird"])
    assert answers(hashrepro, "--query", 1, "-k", 12) == by_number[1:]


def test_rows_without_a_learned_code_take_the_networks_and_say_so(repository, hashrepro):
    assert "11 codes learned in training, 1 by the network" in hashrepro("index", ADSH)
    assert built(repository).items(np.arange(12)).origins.index("network") == 2
    out = hashrepro("index", ADSH, "--database", "network", "--force")
    assert "0 codes learned in training, 12 by the network" in out
    codes, _ = read_codes(repository.run("adsh") / "codes.safetensors")
    np.testing.assert_array_equal(built(repository).codes(np.arange(12)).packed, codes["network"].packed)


def test_an_index_needs_nothing_but_its_folder(repository, hashrepro):
    hashrepro("index", ADSH, "--out", "somewhere/mine")
    hashrepro("index", ADSH)
    expected = answers(hashrepro, ADSH, "--image", repository.files[12])
    shutil.rmtree(repository.root / "runs")
    shutil.rmtree(repository.root / "data")
    shutil.move("somewhere/mine", "elsewhere")
    assert answers(hashrepro, "elsewhere", "--image", repository.files[12]) == expected
    hashrepro("search", "elsewhere", "--image", repository.files[12], "--html", "found.html")
    assert (
        Path("found.html").read_text().count("data:image/") == 1
    )  # the query; of the hits there are no pictures
    assert "has not been preprocessed" in hashrepro("search", "elsewhere", "--query", 0, code=2)
    assert "has no run" in hashrepro("recall", "elsewhere", code=2)


def test_only_new_images_are_encoded_and_added(repository, hashrepro):
    hashrepro("index", ADSH)
    folder = new_images(repository)
    table = repository.root / "labels.csv"
    table.write_text("path,labels\nnew/0.png,red bird;blue bird\nnew/deep/1.png,green bird\n")
    out = hashrepro("add", ADSH, folder, "--labels", table)
    assert "5 images; 5 are not in the index" in out
    assert "added 5 images, 3 of them without labels" in out
    assert "17 images, 12 bits, faiss flat; 11 codes learned in training, 6 by the network" in out
    items = built(repository).items(np.arange(12, 17))
    paths = sorted(str(path) for path in folder.rglob("*.png"))
    assert items.paths == items.ids == paths
    assert items.labels == [[0, 2], [], [], [1], []]
    assert set(items.origins) == {"network"}
    values = Encoder.open(built(repository).folder, torch.device("cpu")).encode_files(paths)
    np.testing.assert_array_equal(
        built(repository).codes(np.arange(12, 17)).packed, Codes.pack(values).packed
    )
    assert not (repository.root / "work" / "encoding").exists() or not list(
        (repository.root / "work" / "encoding").glob("*/*")
    )

    assert "5 images; 0 are not in the index" in hashrepro("add", ADSH, folder)
    Image.new("RGB", (50, 50), "red").save(folder / "later.png")
    assert "added 1 images" in hashrepro("add", ADSH, folder)
    assert len(built(repository)) == 18


def test_unreadable_images_stop_an_addition_or_are_left_out(repository, hashrepro):
    hashrepro("index", ADSH)
    folder = new_images(repository)
    (folder / "broken.jpg").write_text("no image")
    (folder / "deep" / "empty.png").touch()
    message = hashrepro("add", ADSH, folder, code=2)
    assert "2 images cannot be read" in message
    assert "broken.jpg: not an image" in message
    assert "empty.png: the file is empty" in message
    assert len(built(repository)) == 12
    assert list((repository.root / "work" / "encoding").glob("*/*.safetensors"))  # encoded, for the next time
    out = hashrepro("add", ADSH, folder, "--unreadable", "drop")
    assert "left out" in out
    assert len(built(repository)) == 17
    again = hashrepro("add", ADSH, folder, "--unreadable", "drop")  # as every night
    assert "left out" in again
    assert "added 0 images" in again
    assert not list((repository.root / "work" / "encoding").glob("*/*.safetensors"))


def test_an_index_with_added_images_is_made_again_of_itself_only(repository, hashrepro):
    hashrepro("index", ADSH)
    hashrepro("add", ADSH, new_images(repository))
    message = hashrepro("index", ADSH, "--force", code=2)
    assert "5 images were added to this index" in message
    assert f"rm -r {built(repository).folder}" in message
    hashrepro("index", built(repository).folder, "--kind", "ivf", "--force")
    assert len(built(repository)) == 17
    assert built(repository).facts["kind"] == "ivf"


def test_an_index_in_the_working_folder_is_made_again(repository, hashrepro, monkeypatch):
    hashrepro("index", ADSH)
    folder = built(repository).folder
    monkeypatch.setattr("hashrepro.cli.repository", lambda: repository.root)
    monkeypatch.chdir(folder)
    hashrepro("index", ".", "--kind", "hnsw", "--force")
    assert Index.open(folder).facts["kind"] == "hnsw"


def test_options_that_could_not_be_followed_are_errors(repository, hashrepro):
    hashrepro("index", ADSH)
    folder = new_images(repository)
    hashrepro("add", ADSH, folder)
    assert "labels were not used" in hashrepro("add", ADSH, folder, "--labels", "t.csv", code=2)
    own = built(repository).folder
    assert "leave it out" in hashrepro("index", own, "--database", "network", "--force", code=2)
    assert "--html FILE" in hashrepro("search", "--image", repository.files[0], "--open", code=2)
    assert "Is a directory" in hashrepro("search", "--image", repository.files[0], "--html", folder, code=2)


def test_an_image_that_is_gone_leaves_the_other_reranking(repository, hashrepro):
    hashrepro("index", ADSH)
    folder = new_images(repository)
    hashrepro("add", ADSH, folder)
    shutil.rmtree(folder)
    both = ("search", "--image", repository.files[0], "--rerank", "both")
    assert "take --rerank query" in hashrepro(*both, code=2)
    hashrepro("search", "--image", repository.files[0], "--rerank", "query")


def test_a_table_that_names_no_new_image_is_a_mistake(repository, hashrepro):
    hashrepro("index", ADSH)
    (repository.root / "labels.csv").write_text("path,labels\n0.png,red bird\n")
    message = hashrepro("add", ADSH, new_images(repository), "--labels", "labels.csv", code=2)
    assert "names none of the new images" in message


@pytest.mark.parametrize("mode", ["query", "both"])
def test_reranking_orders_by_real_valued_outputs(repository, hashrepro, mode):
    hashrepro("index", SEMICON)
    hashrepro("add", SEMICON, new_images(repository))
    (answer,) = answers(hashrepro, "--image", repository.files[13], "-k", 17, "--rerank", mode)
    opened = built(repository, SEMICON)
    encoder = Encoder.open(opened.folder, torch.device("cpu"))
    query = encoder.encode_files([repository.files[13]])[0].astype(np.float64)
    rows = [hit["row"] for hit in answer["hits"]]
    assert sorted(rows) == list(range(17))
    if mode == "query":
        candidates = opened.codes(np.array(rows)).unpack()
    else:
        paths = [*repository.files[:12], *opened.items(np.arange(12, 17)).paths]
        candidates = encoder.encode_files([paths[row] for row in rows], batch_size=1)
    scores = [hit["score"] for hit in answer["hits"]]
    np.testing.assert_allclose(scores, candidates @ query, rtol=0, atol=1e-4)
    assert scores == sorted(scores, reverse=True)


def test_reranking_keeps_the_best_of_more_candidates(repository, hashrepro):
    hashrepro("index", ADSH)
    whole = answers(hashrepro, "--query", 0, "-k", 12, "--rerank", "query")
    part = answers(hashrepro, "--query", 0, "-k", 3, "--rerank", "query")
    few = answers(hashrepro, "--query", 0, "-k", 3, "--rerank", "query", "--candidates", 3)
    assert [hit["row"] for hit in part[0]["hits"]] == [hit["row"] for hit in whole[0]["hits"]][:3]
    plain = answers(hashrepro, "--query", 0, "-k", 3)
    assert {hit["row"] for hit in few[0]["hits"]} == {hit["row"] for hit in plain[0]["hits"]}


def test_the_page_has_the_pictures_of_the_set_and_of_added_files(repository, hashrepro, monkeypatch):
    hashrepro("index", ADSH)
    folder = new_images(repository)
    hashrepro("add", ADSH, folder)
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    out = hashrepro("search", "--query", 0, "-k", 17, "--html", "page/found.html", "--open")
    page = repository.root / "page" / "found.html"
    assert "pictures: page/found.html" in out
    assert page.read_text().count("data:image/") == 18
    assert opened == [page.as_uri()]
    (folder / "0.png").unlink()
    hashrepro("search", "--query", 0, "-k", 17, "--html", page)
    assert page.read_text().count("data:image/") == 17
    assert len(opened) == 1


def test_which_index_is_meant(repository, hashrepro):
    assert "There is no index yet" in hashrepro("search", "--query", 0, code=2)
    hashrepro("index", ADSH)
    assert "12.jpg" in hashrepro("search", "--query", 0) or "12.png" in hashrepro("search", "--query", 0)
    hashrepro("index", SEMICON)
    message = hashrepro("search", "--query", 0, code=2)
    assert f"name one of: {ADSH}, {SEMICON}" in message
    assert "There is no index 'foo'" in hashrepro("search", "foo", "--query", 0, code=2)
    assert "There is no query 6" in hashrepro("search", ADSH, "--query", 0, 6, code=2)


def test_which_run_is_meant(repository, hashrepro):
    assert f"name one of: {ADSH}, {SEMICON}" in hashrepro("index", code=2)
    assert "has no run 'foo'" in hashrepro("index", "foo", code=2)
    codes = repository.run("adsh") / "codes.safetensors"
    codes.write_bytes(codes.read_bytes()[:100])
    assert "are damaged" in hashrepro("index", ADSH, code=2)
    codes.unlink()
    assert "has no codes yet" in hashrepro("index", ADSH, code=2)
    save_file({}, codes, metadata={"skipped": "12 bits are too few"})
    assert "was skipped: 12 bits are too few" in hashrepro("index", ADSH, code=2)
    assert "Which run?" in hashrepro("index", code=2)


def test_an_index_is_replaced_by_force_only(repository, hashrepro):
    hashrepro("index", ADSH)
    assert "replace it with --force" in hashrepro("index", ADSH, code=2)
    assert "faiss ivf (lists=3 probes=2)" in hashrepro(
        "index", ADSH, "--force", "--kind", "ivf", "--lists", 3, "--probes", 2
    )
    assert built(repository).facts["recall"]["table"]
    assert "no parameter links" in hashrepro("index", ADSH, "--force", "--links", 3, code=2)
    assert built(repository).facts["kind"] == "ivf"


def test_an_index_is_made_anew_in_another_kind_without_encoding(repository, hashrepro):
    hashrepro("index", ADSH)
    folder = new_images(repository)
    hashrepro("add", ADSH, folder)
    expected = answers(hashrepro, ADSH, "--query", 0, 3, "-k", 17)
    shutil.rmtree(folder)
    first = f"indexes/quickstart/{ADSH}"
    assert "replace it with --force" in hashrepro("index", first, code=2)
    words = ("--kind", "ivf", "--lists", 3, "--probes", 3)
    assert "recall" in hashrepro("index", first, *words, "--out", "other")
    assert answers(hashrepro, "other", "--query", 0, 3, "-k", 17) == expected
    shutil.rmtree(repository.root / "runs")
    out = hashrepro("index", first, *words, "--force")
    assert "Its recall was not measured. The suite quickstart has no run" in out
    assert answers(hashrepro, ADSH, "--query", 0, 3, "-k", 17) == expected


def test_a_data_set_in_another_state_is_refused(repository, hashrepro):
    processed = repository.root / "data" / "processed" / "birds"
    build_cache(processed, repository.files, resize=40, crop=32, workers=0, progress=False)
    assert "another state of the data set 'birds'" in hashrepro("index", ADSH, code=2)
    shutil.rmtree(processed)
    assert "dvc repro data/dvc.yaml:preprocess@birds" in hashrepro("index", ADSH, code=2)


def test_the_recipe_is_the_one_that_trained(repository, hashrepro):
    out = hashrepro("index", ADSH)  # params.yaml has no recipe for these birds any more
    assert "another recipe than params.yaml has now: its own is used" in out
    assert read_json(built(repository).folder / "encoder.json")["recipe"]["evaluation_batch_size"] == 4


def test_a_network_that_does_not_give_the_codes_is_refused(repository, hashrepro):
    model = repository.run("semicon") / "model.safetensors"
    state = load_file(model)
    save_file({name: np.asarray(tensor + (tensor.ndim == 4)) for name, tensor in state.items()}, model)
    assert "gives other codes than the run has" in hashrepro("index", SEMICON, code=2)
    assert not (repository.root / "indexes").exists()


def test_the_network_of_another_run_is_refused(repository, hashrepro):
    hashrepro("index", ADSH)
    hashrepro("index", SEMICON)
    for name in ("encoder.json", "model.safetensors"):
        shutil.copy(built(repository, SEMICON).folder / name, built(repository).folder / name)
    what = "not the one that made its codes"
    assert what in hashrepro("search", ADSH, "--query", 0, code=2)
    assert what in hashrepro("add", ADSH, new_images(repository), code=2)


def test_recall_and_score_are_of_the_runs_queries(repository, hashrepro):
    hashrepro("index", ADSH, "--kind", "ivf", "--lists", 3, "--probes", 1)
    hashrepro("add", ADSH, new_images(repository))
    table = json.loads(hashrepro("recall", ADSH, "-k", 1, 5, "--json"))
    assert [row["k"] for row in table] == [1, 5]
    all_lists = json.loads(hashrepro("recall", ADSH, "-k", 5, "--probes", 3, "--json"))
    assert [row["recall"] for row in all_lists] == [1.0]
    scores = {row["database"]: row for row in json.loads(hashrepro("score", ADSH, "--json"))}
    assert {name: (row["rows"], row["unlabelled"]) for name, row in scores.items()} == {
        "learned": (11, 0),
        "network": (1, 5),
        "all": (12, 5),
    }
    assert "precision_at_10" in hashrepro("score", ADSH)


def test_a_run_that_was_trained_again_cannot_score_an_old_index(repository, hashrepro):
    hashrepro("index", ADSH)
    shutil.copy(repository.run("semicon") / "model.safetensors", repository.run("adsh"))
    message = hashrepro("score", ADSH, code=2)
    assert f"hashrepro index {ADSH} --force" in message


def test_words_that_make_no_sense_are_refused_at_once(hashrepro, capsys):
    for words in (
        ["search", "-k", "0", "--query", "1"],
        ["search"],
        ["search", "--query", "-1"],
        ["add", "x"],
    ):
        with pytest.raises(SystemExit):
            main(words)
    assert "it must be 1 or more" in capsys.readouterr().err


def test_other_commands_do_not_pay_for_searches():
    words = "import sys; from hashrepro.cli import parser; parser(); "
    words += "print([m for m in ('torch', 'faiss', 'pandas', 'numpy', 'pyarrow') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_lancedb_answers_as_faiss(repository, hashrepro):
    hashrepro("index", ADSH)
    hashrepro("index", ADSH, "--store", "lancedb", "--out", "table")
    folder = new_images(repository)
    for name in (ADSH, "table"):
        hashrepro("add", name, folder)
    assert answers(hashrepro, "table", "--query", 0, 3, "-k", 17) == answers(
        hashrepro, ADSH, "--query", 0, 3, "-k", 17
    )


def test_the_cache_is_opened_with_the_view_of_the_index(repository, hashrepro):
    hashrepro("index", ADSH)
    about = read_json(built(repository).folder / "encoder.json")
    header = ImageCache.open(repository.root / "data" / "processed" / "birds").header
    assert about["view"] == {"resize": 36, "crop": 32, "upright": False, "crop_bottom": 0}
    assert (header["resize"], header["crop"]) == (36, 32)
