"""What a network costs: multiply-adds, parameters, bytes, and a latency that holds."""

from nas.measure.apart import MeterApart as MeterApart
from nas.measure.latency import Calibration as Calibration
from nas.measure.latency import Ratio as Ratio
from nas.measure.latency import measure_ratio as measure_ratio
from nas.measure.machine import describe as describe
from nas.measure.macs import count_macs as count_macs
from nas.measure.meter import Meter as Meter
from nas.measure.module import price_module as price_module
from nas.measure.open import OpenMeter as OpenMeter
from nas.measure.open import conditions as conditions
from nas.measure.open import noticed as noticed
from nas.measure.open import open_meter as open_meter
from nas.measure.open import opened as opened
from nas.measure.runtimes import RUNTIMES as RUNTIMES
from nas.measure.runtimes import Runtime as Runtime
