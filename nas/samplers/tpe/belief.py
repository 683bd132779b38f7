"""What an expert believes of the choices, and how it fades."""

from __future__ import annotations

import numpy as np

from nas.samplers.tpe.columns import Columns

_TRIALS = 10.0
"""A prior has its full weight up to so many trials, a quarter of it at twice as many."""


class Belief:
    """The priors of a space as a factor of what an architecture promises.

        gain(x) prod_p (prior_p(x_p) / uniform_p(x_p))^min(1, (10 / n)^2)

    over the active parameters p, after n trials. Where the prior is right the search begins where it should; where it
    is wrong its weight falls with every trial, and the trials win.

    Reference: Hvarfner et al., piBO, ICLR 2022, eq. 6, with beta = 10. Our exponent falls with the square of n, since
    every block of a network brings its own factors; and it is 1 at most, for what is chosen by evidence from elsewhere.

    Attributes:
        stated: whether any parameter has a prior.
    """

    def __init__(self, columns: Columns) -> None:
        self._log = [np.append(np.log(c.prior) - np.log(np.diff(c.edges)), 0.0) for c in columns.cells]
        self.stated = any(np.abs(log).max() > 1e-9 for log in self._log)

    def score(self, rows: np.ndarray, n_trials: int) -> np.ndarray:
        """Return the logarithm of the factor, (n,), for (n, n_parameters) cells."""
        total = np.zeros(len(rows))
        if self.stated:
            for column, log in enumerate(self._log):
                total += log[rows[:, column]]
        return total * (_TRIALS / max(n_trials, _TRIALS)) ** 2
