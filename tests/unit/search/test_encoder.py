"""The encoder gives the codes of its run, bit for bit, from files as from the cache, wherever its folder is."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from hashrepro.errors import UserError
from hashrepro.files import read_json, write_json
from hashrepro.images.cache import ImageCache, build_cache
from hashrepro.retrieval.codes import read_codes
from hashrepro.search.about import About, View
from hashrepro.search.encoder import Encoder
from hashrepro.search.views import pixels, view_of

CPU = torch.device("cpu")


def encoder_of(repository, method="adsh") -> Encoder:
    return Encoder.of_run(repository.run(method), view_of(repository.cache), 3, CPU)


@pytest.mark.parametrize("method", ["adsh", "semicon"])
def test_the_codes_of_the_run_come_out_again(finished, method):
    encoder = encoder_of(finished, method)
    codes, _ = read_codes(finished.run(method) / "codes.safetensors")
    values = encoder.encode_rows(finished.cache, finished.catalog.database_rows)
    assert values.dtype == np.float32
    packed = np.packbits(values >= 0, axis=1, bitorder="little")
    np.testing.assert_array_equal(packed, codes["network"].packed)


@pytest.mark.parametrize("workers", [0, 2])
def test_files_and_cache_give_the_same_bits(finished, workers):
    encoder, rows = encoder_of(finished), np.arange(18)
    from_files = encoder.encode_files(finished.files, workers=workers)
    np.testing.assert_array_equal(from_files, encoder.encode_rows(finished.cache, rows))
    assert len(np.unique(from_files, axis=0)) == 18


@pytest.mark.parametrize("changes", [{}, {"upright": True}, {"crop_bottom": 9}])
def test_the_view_is_the_one_of_the_cache(finished, tmp_path, changes):
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(finished.files[0]).convert("RGB").save(turned, exif=exif)
    paths = [turned, *finished.files[1:4]]
    build_cache(tmp_path / "cache", paths, resize=36, crop=32, workers=0, progress=False, **changes)
    cache = ImageCache.open(tmp_path / "cache")
    view = view_of(cache)
    assert view == View(36, 32, **changes)
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(pixels(path, view), cache.evaluation([row])[0].permute(1, 2, 0))


def test_images_kept_as_pixels_have_the_same_view_as_files(finished, tmp_path):
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in finished.files[:4]])
    build_cache(tmp_path / "cache", pixels, resize=36, crop=32, workers=0, progress=False)
    cache = ImageCache.open(tmp_path / "cache")
    paths = []
    for row, image in enumerate(pixels):
        paths.append(tmp_path / f"{row}.png")
        Image.fromarray(image).save(paths[-1])
    encoder = encoder_of(finished)
    np.testing.assert_array_equal(encoder.encode_files(paths), encoder.encode_rows(cache, np.arange(4)))


def test_a_saved_encoder_needs_nothing_of_the_run(repository, tmp_path):
    encoder = encoder_of(repository, "semicon")
    expected = encoder.encode_files(repository.files[:5])
    encoder.save(tmp_path / "saved")
    shutil.rmtree(repository.root / "runs")
    shutil.move(tmp_path / "saved", tmp_path / "elsewhere")
    opened = Encoder.open(tmp_path / "elsewhere", CPU)
    assert opened.about == encoder.about
    assert opened.about.digest == encoder.about.digest
    np.testing.assert_array_equal(opened.encode_files(repository.files[:5]), expected)


def test_encoded_alone_an_image_is_what_it_is_whatever_else_is_asked_for(finished):
    encoder = encoder_of(finished, "semicon")
    alone = encoder.encode_files(finished.files[:1], batch_size=1)
    together = encoder.encode_files(finished.files[:6], batch_size=1)
    np.testing.assert_array_equal(together[:1], alone)
    assert (encoder.encode_files(finished.files[:4])[:1] != alone).any()


def test_all_unreadable_files_are_named_at_once(finished, tmp_path):
    text, nothing = tmp_path / "text.jpg", tmp_path / "nothing.png"
    text.write_text("not an image")
    with pytest.raises(UserError, match="3 images cannot be read") as error:
        encoder_of(finished).encode_files([text, finished.files[0], nothing, tmp_path])
    assert f"{text}: not an image" in str(error.value)
    assert f"{nothing}: No such file" in str(error.value)
    assert f"{tmp_path}: not a file" in str(error.value)


def test_an_image_of_too_many_pixels_is_named(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 800)
    with pytest.raises(UserError, match="exceeds limit of 1600 pixels"):
        encoder_of(finished).encode_files(finished.files[:1])


def test_a_cache_of_another_view_is_refused(finished, tmp_path):
    build_cache(tmp_path, finished.files[:2], resize=40, crop=32, workers=0, progress=False)
    with pytest.raises(UserError, match=r"resize=40.*resize=36"):
        encoder_of(finished).encode_rows(ImageCache.open(tmp_path), np.arange(2))


def changed_recipe(folder):
    about = read_json(folder / "encoder.json")
    about["recipe"]["gone"] = 1
    write_json(folder / "encoder.json", about)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda folder: (folder / "encoder.json").unlink(), "has no encoder"),
        (lambda folder: (folder / "encoder.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "encoder.json").write_text('{"version": 0}'), "of version 0"),
        (lambda folder: (folder / "encoder.json").write_text('{"version": 1}'), "cannot be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "SHA-256 differs"),
        (changed_recipe, "not one of today's adsh"),
    ],
)
def test_a_spoilt_encoder_is_named(repository, tmp_path, spoil, what):
    encoder_of(repository).save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=what) as error:
        Encoder.open(tmp_path, CPU)
    assert error.value.mend


def test_weights_of_another_network_are_refused(repository):
    train = read_json(repository.run("adsh") / "train.json")
    write_json(repository.run("adsh") / "train.json", {**train, "bits": 24})
    with pytest.raises(UserError, match="The weights do not fit the network"):
        encoder_of(repository)


def test_a_run_without_its_record_is_named(repository):
    (repository.run("adsh") / "train.json").unlink()
    with pytest.raises(UserError, match=r"The run has no train\.json"):
        encoder_of(repository)


def test_whatever_changes_a_code_changes_the_digest(finished):
    about = encoder_of(finished).about
    values = {**vars(about), "view": View(36, 30)}
    assert About(**values).digest != about.digest
    assert About(**{**vars(about), "model": "0"}).digest != about.digest


def test_each_by_itself_is_a_batch_of_one_but_for_rounding(finished):
    encoder = encoder_of(finished, "semicon")
    alone = encoder.encode_files(finished.files, batch_size=1)
    with encoder.each_by_itself():
        together = encoder.encode_files(finished.files)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    assert np.abs(encoder.encode_files(finished.files) - alone).max() > 1e-3
