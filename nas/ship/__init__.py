"""A network with its weights -> files that were compared with it and measured again."""

from nas.ship.again import Again as Again
from nas.ship.again import measure_again as measure_again
from nas.ship.meters import shipping_meters as shipping_meters
from nas.ship.several import Exports as Exports
from nas.ship.several import Job as Job
from nas.ship.several import ship_all as ship_all
from nas.ship.one import check_free as check_free
from nas.ship.one import exported_path as exported_path
from nas.ship.one import in_the_way as in_the_way
from nas.ship.one import placed as placed
from nas.ship.one import ship as ship
from nas.ship.shipped import Shipped as Shipped
from nas.ship.shipped import write_table as write_table
from nas.ship.weights import load_network as load_network
