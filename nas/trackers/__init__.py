"""A search in TensorBoard or MLflow while it runs. What one of them cannot do ends its tracking, never the search."""

from nas.trackers.base import RunInfo as RunInfo
from nas.trackers.base import Standing as Standing
from nas.trackers.base import Tracker as Tracker
from nas.trackers.tracking import TRACKERS as TRACKERS
from nas.trackers.tracking import Tracking as Tracking
