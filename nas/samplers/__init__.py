"""WHAT TO TRY NEXT: pure functions of the history and the prices. Optuna loads only where it is asked for."""

from nas.samplers.proposer import SAMPLERS as SAMPLERS
from nas.samplers.proposer import Observation as Observation
from nas.samplers.proposer import Predicted as Predicted
from nas.samplers.proposer import Price as Price
from nas.samplers.proposer import Proposer as Proposer
from nas.samplers.random import RandomSearch as RandomSearch  # registers "random"
from nas.samplers.evolution import Evolution as Evolution
from nas.samplers.tpe import TPE as TPE
from nas.samplers.make import make_sampler as make_sampler
