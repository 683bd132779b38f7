"""Pictures and pages of a run; they see records alone, and never load torch."""

from nas.report.html import write_page as write_page
from nas.report.kept import read_kept as read_kept
from nas.report.plot import plot_front as plot_front
from nas.report.story import Story as Story
