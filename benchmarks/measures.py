"""What the measures of gaplib.cone and gaplib.gap cost, beside the least that could be done with the same rows.

    python benchmarks/measures.py [ROWS ...]

Prints, for 10^4, 10^5 and 10^6 rows of 512 float32, the seconds of each measure, its ratio to a yardstick timed
alternately with it in the same run, and by how much it raised the process's peak memory beyond its input. Yardsticks of
the same arrays: column sums and row norms for the measures of means and pairs, `x.T @ x` for those of covariances.
Measures that compare all rows with all rows take a sample and have none.
"""

import resource
import sys
import time

import numpy as np

from gaplib import cone, gap

WIDTH = 512
SINGLE = [cone.mean_cosine, cone.mean_resultant_length, cone.spherical_variance, cone.vmf_kappa]
PAIRED = [gap.centroid_distance, gap.paired_distance, gap.paired_cosine, gap.alignment]
TWICE = [cone.cone_angle, gap.relative_gap]
COVARIANCE = [cone.effective_rank, cone.participation_ratio, cone.iso_score, gap.frechet_distance]
SAMPLED = [cone.uniformity, gap.linear_separability, gap.neighbour_mixing, gap.mmd]


def clouds(n):
    """Two cones of n unit-norm rows each, made in pieces so that making them leaves no peak."""
    rng = np.random.default_rng(0)
    both = np.empty((2, n, WIDTH), np.float32)
    for x, centre in zip(both, rng.normal(size=(2, WIDTH)) / WIDTH**0.5, strict=True):
        for part in np.array_split(x, max(1, n // 10_000)):
            part[:] = rng.standard_normal(part.shape, np.float32) / WIDTH**0.5 + centre
            part /= np.linalg.norm(part, axis=1, keepdims=True)
    return both


def of(measure, both):
    """The arrays that a measure takes: of one modality, or of both."""
    return both if measure.__module__ == "gaplib.gap" else both[:1]


def sums_and_norms(*arrays):
    for x in arrays:
        x.sum(0), np.sqrt(np.einsum("ij,ij->i", x, x))


def products(*arrays):
    for x in arrays:
        x.T @ x


def seconds(functions, arrays, repeats):
    """The least wall time of each function, taken in turns so that all meet the same machine."""
    best = [np.inf] * len(functions)
    for _ in range(repeats):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function(*arrays)
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB on Linux


def main():
    sizes = [int(float(n)) for n in sys.argv[1:]] or [10**4, 10**5, 10**6]
    groups = ((SINGLE, sums_and_norms, 1.5), (PAIRED, sums_and_norms, 1.5), (TWICE, sums_and_norms, 2.5))
    groups += ((COVARIANCE, products, 1.3), (SAMPLED, None, None))
    small = clouds(100)
    for measures, *_ in groups:  # first calls pay for imports and thread pools
        for measure in measures:
            measure(*of(measure, small))
    for n in sizes:
        both = clouds(n)
        print(f"\n{n:,} x {WIDTH} float32, {both[0].nbytes / 2**20:,.0f} MiB a modality")
        print(f"{'measure':24}{'seconds':>9}{'yardstick':>11}{'ratio':>7}{'at most':>9}{'peak, MiB':>11}")
        for measures, yardstick, bound in groups:
            for measure in measures:
                arrays = of(measure, both)
                before = peak()
                measure(*arrays)
                more = peak() - before
                functions = [measure] if yardstick is None else [measure, yardstick]
                took, *unit = seconds(functions, arrays, 2 if measure in SAMPLED else 5)
                beside = f"{unit[0]:11.4f}{took / unit[0]:7.2f}" if unit else f"{'':18}"
                print(f"{measure.__name__:24}{took:9.4f}{beside}{bound or '':>9}{more:11.0f}", flush=True)
        del both


if __name__ == "__main__":
    main()
