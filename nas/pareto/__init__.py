"""WHAT BEATS WHAT: dominance, hypervolume, and choosing from the front. Every loss is minimised."""

from nas.pareto.choose import Row as Row
from nas.pareto.choose import choose as choose
from nas.pareto.choose import remarks as remarks
from nas.pareto.choose import spread as spread
from nas.pareto.dominance import non_dominated as non_dominated
from nas.pareto.dominance import ranks as ranks
from nas.pareto.hypervolume import hypervolume as hypervolume
from nas.pareto.hypervolume import subset as subset
from nas.pareto.interest import worst_of_interest as worst_of_interest
from nas.pareto.knee import knee as knee
from nas.pareto.rules import Rule as Rule
from nas.pareto.rules import parse_rule as parse_rule
