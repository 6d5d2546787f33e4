import codecs
import datetime
import os
import pickle
import struct

import numpy as np
import pytest

from hashrepro.datasets.pickles import read_pickle
from hashrepro.errors import UserError


def text(value):
    """A Python 2 string in protocol 2."""
    return b"U" + bytes([len(value)]) + value


def python2_batch(pixels, labels):
    """What Python 2's cPickle and numpy 1 write for {"data": pixels, "labels": labels}, opcode by opcode."""
    n, width = pixels.shape
    shape = b"M" + struct.pack("<H", n) + b"M" + struct.pack("<H", width) + b"\x86"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + b"cnumpy\nndarray\n"
        + b"K\x00\x85"
        + text(b"b")
        + b"\x87R"
        b"(K\x01" + shape + b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
        b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<i", pixels.size) + pixels.tobytes() + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def written(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def test_python_2s_own_batch_is_read(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 260), dtype=np.uint8)
    data = python2_batch(pixels, [3, 1, 2])
    assert np.array_equal(pickle.loads(data, encoding="bytes")[b"data"], pixels)  # the oracle reads it too
    (tmp_path / "batch").write_bytes(data)
    batch = read_pickle(tmp_path / "batch")
    assert np.array_equal(batch[b"data"], pixels)
    assert batch[b"data"].dtype == np.uint8
    assert batch[b"labels"] == [3, 1, 2]


@pytest.mark.parametrize("kind", ["u1", "<i4", ">i8", "<f4", ">f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_plain_arrays_are_read(tmp_path, kind, order):
    array = np.asarray(np.arange(12).reshape(3, 4), dtype=kind, order=order)
    result = read_pickle(written(tmp_path / "batch", {b"data": array}))[b"data"]
    assert np.array_equal(result, array)
    assert result.dtype == array.dtype


def test_plain_containers_are_read(tmp_path):
    content = {b"a": [1, 2.5, None, True], b"b": (b"x\xff", "ä"), b"c": {b"d": -1}}
    assert read_pickle(written(tmp_path / "batch", content)) == content


@pytest.mark.parametrize(
    "call",
    [
        Call(os.mkdir, "made-by-a-pickle"),
        Call(eval, "open('made-by-a-pickle', 'w')"),
        Call(np.save, "made-by-a-pickle", np.zeros(1)),
        Call(np.ndarray, (10**12,), "u1"),
        Call(datetime.date, 2020, 1, 1),
        Call(getattr, "text", "upper"),
    ],
    ids=["mkdir", "eval", "save", "huge array", "date", "getattr"],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_named_is_called(tmp_path, monkeypatch, call, protocol):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "batch", {b"data": call}, protocol)
    with pytest.raises(UserError, match="the pickle cannot be read"):
        read_pickle(path)
    assert [path.name for path in tmp_path.iterdir()] == ["batch"]


def test_the_refused_name_is_told(tmp_path):
    with pytest.raises(UserError, match=r"names \w+\.mkdir, which is not data"):
        read_pickle(written(tmp_path / "batch", {b"data": Call(os.mkdir, "x")}))


def test_other_codecs_are_refused(tmp_path):
    with pytest.raises(UserError, match="codec 'rot13'"):
        read_pickle(written(tmp_path / "batch", {b"data": Call(codecs.encode, "abc", "rot13")}))


@pytest.mark.parametrize("array", [np.array([print]), np.array(["text"]), np.zeros(2, "u1,u1")])
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, array):
    with pytest.raises(UserError, match="cannot be read"):
        read_pickle(written(tmp_path / "batch", {b"data": array}))


def test_a_shape_that_the_bytes_do_not_fill_is_refused(tmp_path):
    pixels = np.zeros((4, 4), np.uint8)
    data = python2_batch(pixels, [1]).replace(b"M\x04\x00M\x04\x00", b"M\x04\x00M\xff\x00")
    (tmp_path / "batch").write_bytes(data)
    with pytest.raises(UserError, match="cannot be read"):
        read_pickle(tmp_path / "batch")


def test_a_pickle_cut_anywhere_is_refused(tmp_path):
    data = python2_batch(np.zeros((4, 4), np.uint8), [1, 2])
    for cut in range(len(data)):
        (tmp_path / "batch").write_bytes(data[:cut])
        with pytest.raises(UserError, match="cannot be read"):
            read_pickle(tmp_path / "batch")
