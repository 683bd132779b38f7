"""Pictures of a run; they see records alone, and never load torch."""

from nas.report.plot import plot_front as plot_front
