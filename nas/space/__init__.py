"""WHAT MAY BE BUILT: trees of choices, and the architectures in them. No torch, no Optuna."""

from nas.space.architecture import Architecture as Architecture
from nas.space.conditions import Condition as Condition
from nas.space.conditions import Forbidden as Forbidden
from nas.space.parameters import Categorical as Categorical
from nas.space.parameters import Float as Float
from nas.space.parameters import Integer as Integer
from nas.space.parameters import Parameter as Parameter
from nas.space.parameters import Scalar as Scalar
from nas.space.priors import Centre as Centre
from nas.space.space import Space as Space
from nas.space.tree import Chain as Chain
from nas.space.tree import Choice as Choice
from nas.space.tree import Fixed as Fixed
from nas.space.tree import Group as Group
from nas.space.tree import Repeat as Repeat
from nas.space.tree import Slot as Slot
from nas.space.tree import Tree as Tree
from nas.space.tree import When as When
