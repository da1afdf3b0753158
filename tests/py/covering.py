"""Sets of settings in which every pair of values of two factors occurs."""
import itertools
import random


def covering_set(factors, seed=1):
    """Rows such that every pair of values of two factors is in one (greedy, best of 60 candidates)."""
    names, rng = list(factors), random.Random(seed)
    left = {(a, x, b, y) for a, b in itertools.combinations(names, 2) for x in factors[a] for y in factors[b]}
    rows = []
    while left:
        best, most = None, -1
        a, x, b, y = min(left, key=str)
        for _ in range(60):
            row = {n: rng.choice(factors[n]) for n in names}
            row[a], row[b] = x, y
            covered = sum((p, row[p], q, row[q]) in left for p, q in itertools.combinations(names, 2))
            if covered > most:
                best, most = row, covered
        left -= {(p, best[p], q, best[q]) for p, q in itertools.combinations(names, 2)}
        rows.append(best)
    return rows
