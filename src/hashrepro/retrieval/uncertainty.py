"""How far a mean over queries may be from the mean over all queries there could be, and whether two methods differ.

Queries are taken as independent draws. What other training seeds or another database would change is not in it.
"""

from dataclasses import dataclass

import numpy as np

from hashrepro.errors import UserError

METHOD = "percentile bootstrap over queries"
_NUMBERS_A_BATCH = 1_000_000


@dataclass(frozen=True)
class Paired:
    """Two methods on the same queries.

    Attributes:
        difference: mean of a - b over the queries that both count.
        low, high: 95 % bootstrap interval of it.
        p: two-sided p-value of the hypothesis that the two are exchangeable query by query.
        n: queries that both count.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int


def _resampled_means(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means of the columns of `values` (q, c) over `resamples` draws of q rows with replacement: (resamples, c).

    A resample is the number of times that each row was drawn. All columns share it, so that its cost, one random
    number a row, is paid once; NaN weighs nothing.
    """
    q, c = values.shape
    counted = ~np.isnan(values)
    both = np.concatenate([np.where(counted, values, 0.0), counted], axis=1)
    means = np.empty((resamples, c))
    batch = max(1, _NUMBERS_A_BATCH // q)
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        drawn = rng.integers(0, q, (size, q)) + np.arange(0, size * q, q)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * q).reshape(size, q)
        sums, weight = np.hsplit(times.astype(np.float64) @ both, [c])
        means[start : start + size] = np.where(weight > 0, sums / np.maximum(weight, 1), np.nan)
    return means


def bootstrap_interval(
    values: np.ndarray, *, confidence: float = 0.95, resamples: int, rng: np.random.Generator
) -> tuple:
    """Bootstrap interval of the mean over queries.

    The queries are drawn with replacement, as many as there are, `resamples` times; the interval lies between the
    (1 - confidence) / 2 and (1 + confidence) / 2 quantiles of the means (Efron & Tibshirani 1993, chapter 13:
    percentile). BCa would correct for skewness, which the mean of hundreds of queries hardly has, at the price of
    two more estimates. For a handful of queries both are too narrow.

    Args:
        values: float (q,), or (q, c) for several scores of the same queries; NaN: query left out.
        confidence: between 0 and 1.
        resamples: how often to draw; the ends of the interval vary by about 2 / sqrt(resamples) of its half width.
        rng: the same state, the same interval.

    Returns:
        (low, high): floats, or arrays (c,); NaN where no query counts.

    Raises:
        UserError: a confidence or a number of resamples that cannot be.
    """
    if not 0 < confidence < 1 or resamples < 1:
        raise UserError(
            f"An interval of confidence {confidence} from {resamples} resamples cannot be had.",
            where="params.yaml: evaluate",
            mend="give a confidence between 0 and 1, such as 0.95, and at least 1 resample",
        )
    values = np.asarray(values, np.float64)
    columns = values[:, None] if values.ndim == 1 else values
    columns = columns[~np.isnan(columns).all(axis=1)]
    ends = np.full((2, columns.shape[1]), np.nan)
    if len(columns):
        for c, means in enumerate(_resampled_means(columns, resamples, rng).T):
            drawn = means[~np.isnan(means)]
            if len(drawn):
                ends[:, c] = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = ends
    return (float(low[0]), float(high[0])) if values.ndim == 1 else (low, high)


def paired_test(a: np.ndarray, b: np.ndarray, *, resamples: int, rng: np.random.Generator) -> Paired:
    """Paired randomisation test of the difference of two means over the same queries.

    If the methods were exchangeable, each query's a - b would as well have the other sign: p is the share of
    `resamples` random choices of all signs whose mean is at least as far from 0, on its side and doubled, the observed
    choice counted among them (Smucker, Allan & Carterette 2007). So p is never below 2 / (resamples + 1).

    Args:
        a, b: float (q,) in the same order of queries; NaN in either leaves the query out of both.
        resamples: random choices of signs, and resamples of the interval.
        rng: the same state, the same numbers.

    Returns:
        Paired; without a query that both count, NaN and n = 0.

    Raises:
        UserError: the two have not the same queries.
    """
    from scipy.stats import monte_carlo_test  # takes a second to import

    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise UserError(
            f"Scores of {a.shape} and {b.shape} queries cannot be paired.",
            where="paired_test",
            mend="score both methods on the same catalog: dvc repro",
        )
    difference = a - b
    difference = difference[~np.isnan(difference)]
    n = len(difference)
    if not n:
        return Paired(np.nan, np.nan, np.nan, np.nan, 0)
    low, high = bootstrap_interval(difference, resamples=resamples, rng=rng)

    def signs(size: tuple[int, int]) -> np.ndarray:
        # A random bit a query: scipy's permutation_test draws a permutation a query, 500 times slower.
        count = size[0] * size[1]
        bits = np.unpackbits(np.frombuffer(rng.bytes(-(-count // 8)), np.uint8), count=count)
        return 2.0 * bits.reshape(size) - 1

    test = monte_carlo_test(
        np.ones(n),
        signs,
        lambda sign, axis: sign @ difference / n,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _NUMBERS_A_BATCH // n),
    )
    return Paired(float(difference.mean()), low, high, float(test.pvalue), n)
