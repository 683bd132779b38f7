"""Our tree-structured Parzen estimator.

Read cells, columns, activity (architectures as rows), split, density, densities, belief, candidates (what is good, and
where to look), features, relevance, regression, gain (what it is worth), history, survey, outlook (what is known), and
sampler.
"""

from nas.samplers.tpe.sampler import TPE as TPE
