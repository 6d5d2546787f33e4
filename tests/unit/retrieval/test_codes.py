import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hashrepro.errors import UserError
from hashrepro.retrieval.codes import Codes, random_codes, read_codes, write_codes

VALUES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 140)),
    elements=st.sampled_from([-1.5, -1.0, -0.0, 0.0, 0.3, 1.0]),
)


@given(VALUES)
def test_unpack_gives_the_signs_back(values):
    codes = Codes.pack(values)
    expected = np.where(values >= 0, 1, -1)
    expected[(values == 0).all(axis=1)] = 0
    assert codes.unpack().dtype == np.int8
    np.testing.assert_array_equal(codes.unpack(), expected)
    np.testing.assert_array_equal(codes.coded, (values != 0).any(axis=1))


def test_bit_order_is_little_within_bytes_and_words():
    values = -np.ones((1, 70))
    values[0, [0, 9, 69]] = 1
    codes = Codes.pack(values)
    assert codes.packed.tolist() == [[1, 2, 0, 0, 0, 0, 0, 0, 32]]
    assert codes.words.tolist() == [[1 + (1 << 9), 1 << 5]]


def test_rows_can_be_selected():
    codes = random_codes(9, 12, np.random.default_rng(0))
    np.testing.assert_array_equal(codes[np.array([5, 2])].unpack(), codes.unpack()[[5, 2]])
    assert len(codes[3:]) == 6


def test_nan_is_refused_and_counted():
    values = np.ones((5, 4))
    values[[1, 3], 2] = np.nan
    with pytest.raises(UserError, match="2 of 5 rows"):
        Codes.pack(values)


def test_only_matrices_are_packed():
    with pytest.raises(UserError, match="not from shape"):
        Codes.pack(np.ones(3))


@pytest.mark.parametrize(
    ("packed", "bits", "coded", "message"),
    [
        (np.zeros((2, 2), np.uint8), 8, np.ones(2, bool), r"uint8 \(n, 1\)"),
        (np.zeros((2, 1), np.int8), 8, np.ones(2, bool), "int8"),
        (np.zeros((2, 1), np.uint8), 8, np.ones(3, bool), r"bool \(2,\)"),
        (np.full((2, 1), 8, np.uint8), 3, np.ones(2, bool), "beyond the 3"),
        (np.full((2, 1), 1, np.uint8), 3, np.array([True, False]), "marked as uncoded"),
        (np.zeros((2, 0), np.uint8), 0, np.ones(2, bool), "1 to 65000"),
    ],
)
def test_inconsistent_codes_are_refused(packed, bits, coded, message):
    with pytest.raises(UserError, match=message):
        Codes(packed, bits, coded)


def test_random_codes_are_fair_and_repeatable():
    first = random_codes(4000, 24, np.random.default_rng(3)).unpack()
    again = random_codes(4000, 24, np.random.default_rng(3)).unpack()
    np.testing.assert_array_equal(first, again)
    assert set(np.unique(first)) == {-1, 1}
    # 4000 fair signs have a mean of standard deviation 0.016.
    assert np.abs(first.mean(axis=0)).max() < 0.08


def example() -> dict[str, Codes]:
    rng = np.random.default_rng(1)
    learned = rng.choice([-1.0, 1.0], (7, 12))
    learned[4] = 0
    return {"query": random_codes(3, 12, rng), "learned": Codes.pack(learned)}


def test_a_file_gives_codes_and_header_back(tmp_path):
    codes, header = example(), {"catalog": "ab12", "row_order": "catalog"}
    write_codes(tmp_path / "codes.safetensors", codes, header)
    parts, found = read_codes(tmp_path / "codes.safetensors")
    assert found == header
    assert sorted(parts) == ["learned", "query"]
    for name in parts:
        assert parts[name].bits == 12
        np.testing.assert_array_equal(parts[name].unpack(), codes[name].unpack())
    assert [path.name for path in tmp_path.iterdir()] == ["codes.safetensors"]


def test_the_bytes_of_a_file_do_not_depend_on_the_process(tmp_path):
    script = (
        "import sys, numpy as np\n"
        "from hashrepro.retrieval.codes import Codes, write_codes\n"
        "codes = {name: Codes.pack(np.ones((2, 5))) for name in ('query', 'learned', 'network')}\n"
        "write_codes(sys.argv[1], codes, {name: name for name in 'abcdef'})\n"
    )
    digests = set()
    for run in range(3):
        path = tmp_path / f"{run}.safetensors"
        subprocess.run([sys.executable, "-c", script, str(path)], check=True)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = tmp_path / "codes.safetensors"
    write_codes(path, example(), {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="not a whole file") as caught:
        read_codes(path)
    assert caught.value.where == path
    assert "dvc repro" in caught.value.mend


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_codes(tmp_path / "absent")


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(UserError, match="not a whole file"):
        read_codes(tmp_path / "plain.safetensors")
    about = '{"format": "other", "bit_order": "", "bits": {}, "header": {}}'
    save_file({"x": np.zeros(2)}, tmp_path / "other.safetensors", metadata={"about": about})
    with pytest.raises(UserError, match="another format"):
        read_codes(tmp_path / "other.safetensors")


def test_a_file_whose_bits_do_not_fit_is_refused(tmp_path):
    path = tmp_path / "codes.safetensors"
    write_codes(path, {"query": Codes.pack(np.ones((2, 12)))}, {})
    path.write_bytes(path.read_bytes().replace(b'\\"query\\": 12', b'\\"query\\": 24'))
    with pytest.raises(UserError, match="24 bits") as caught:
        read_codes(path)
    assert caught.value.where == path
