"""Architecture -> torch module, and spaces checked against the blocks there are."""

from nas.build.check import check_buildable as check_buildable
from nas.build.check import check_network as check_network
from nas.build.check import check_parts as check_parts
from nas.build.network import Network as Network
from nas.build.network import Step as Step
from nas.build.network import build as build
from nas.build.network import build_tree as build_tree
from nas.build.network import walk_tree as walk_tree
