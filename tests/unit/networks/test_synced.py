"""Three processes on shares of a batch against torch's own modules on the whole of it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hashrepro.errors import UserError
from hashrepro.networks.sem import mask
from hashrepro.networks.synced import convert, gather_rows, own_slice, rank, shares, world_size

WORKER = Path(__file__).with_name("synced_worker.py")
spec = importlib.util.spec_from_file_location("synced_worker", WORKER)
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)
SIZES, PROCESSES = worker.SIZES, worker.PROCESSES


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each process got."""
    folder = tmp_path_factory.mktemp("synced")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, WORKER, folder], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{number}.pt") for number in range(PROCESSES)]


def close(value, expected):
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", worker.norms())
def test_batch_norm_is_that_of_the_whole_batch(found, name, n):
    expected = worker.passes(worker.norms()[name], n, slice(None))
    parts = [each[f"{name} {n}"] for each in found]
    for key, value in expected.items():
        if key in ("weight.grad", "bias.grad"):
            close(sum(part[key] for part in parts), value)
        elif key in ("running_mean", "running_var", "num_batches_tracked"):
            for part in parts:
                close(part[key], value)
                assert torch.equal(part[key], parts[0][key])
        else:
            close(torch.cat([part[key] for part in parts]), value)


def test_the_shares(found):
    assert found[0]["shares"] == [[3, 2, 2], [1, 1, 0], [1, 0, 0]]
    assert [each["alone"] for each in found] == [3, 3, 3]


@pytest.mark.parametrize("n", SIZES)
def test_rows_are_gathered_and_gradients_go_home(found, n):
    rows = worker.batch(n)[0][:, :, 0, 0]
    for each in found:
        assert torch.equal(each[f"gathered {n}"]["rows"], rows)
    # process r's loss is (r + 1) times the sum of squares: 1 + 2 + 3 of them flow back
    close(torch.cat([each[f"gathered {n}"]["grad"] for each in found]), 6 * 2 * rows)


@pytest.mark.parametrize("n", SIZES)
def test_the_mask_spreads_over_the_whole_batch_where_it_is_shared(found, n):
    close(torch.cat([each[f"mask {n}"] for each in found]), mask(worker.attention(n), 0.15))
    if n == 7:
        own = worker.attention(n)[:3]
        close(found[0]["mask alone 7"], mask(own, 0.15))
        assert not torch.allclose(found[0]["mask alone 7"], found[0]["mask 7"])


def test_half_precision_and_a_wrong_share(found):
    assert {each["half"] for each in found} == {torch.bfloat16}
    assert found[0]["wrong share"] == "5 rows are not process 0's share of 7: 3"


def test_alone_everything_is_what_it_was():
    assert (world_size(), rank(), shares(7), own_slice(7)) == (1, 0, [7], slice(0, 7))
    rows = torch.rand(3, 2)
    assert gather_rows(rows, 3) is rows
    for name, module in worker.norms().items():
        expected = worker.passes(worker.norms()[name], 7, slice(None))
        holder = nn.Sequential(module)
        convert(holder)
        for key, value in worker.passes(holder[0], 7, slice(None)).items():
            assert torch.equal(value, expected[key])


def test_conversion_keeps_parameters_and_names():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))
    before, names = dict(network.named_parameters()), list(network.state_dict())
    convert(network)
    convert(network)
    assert list(network.state_dict()) == names
    assert all(parameter is before[name] for name, parameter in network.named_parameters())
    for other in (nn.BatchNorm1d(3), nn.BatchNorm2d(3, affine=False)):
        with pytest.raises(UserError, match=r"A BatchNorm.d cannot share its statistics") as error:
            convert(nn.Sequential(other))
    assert error.value.mend == "set machine.processes to 1"
