"""Our tree-structured Parzen estimator. Read cells, columns, split, density, acquisition, sampler in this order."""

from nas.samplers.tpe.sampler import TPE as TPE
