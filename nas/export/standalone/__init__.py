"""What it takes to use a file without this package: these functions are copied into the example beside a file.

They know numpy and a runtime alone, and say what is wrong as a script does: a function that cannot go on ends it.
`nas.export.example` puts together those that a file needs; `open_*` also load what is written here, before it gets its
name, so that what was checked is what the example does.
"""

from nas.export.standalone.arrays import arranged as arranged
from nas.export.standalone.arrays import loaded as loaded
from nas.export.standalone.arrays import read_arrays as read_arrays
from nas.export.standalone.images import as_trained as as_trained
from nas.export.standalone.images import read_images as read_images
from nas.export.standalone.images import resized as resized
from nas.export.standalone.opening import open_executorch as open_executorch
from nas.export.standalone.opening import open_onnx as open_onnx
from nas.export.standalone.opening import open_openvino as open_openvino
from nas.export.standalone.opening import open_pt2 as open_pt2
from nas.export.standalone.predict import main as main
from nas.export.standalone.predict import outputs as outputs
from nas.export.standalone.predict import probabilities as probabilities
from nas.export.standalone.predict import standardised as standardised
from nas.export.standalone.rows import categories as categories
from nas.export.standalone.rows import missing_words as missing_words
from nas.export.standalone.rows import numbers as numbers
from nas.export.standalone.rows import read_columns as read_columns
from nas.export.standalone.rows import read_rows as read_rows
from nas.export.standalone.rows import read_text as read_text
from nas.export.standalone.series import read_series as read_series
from nas.export.standalone.series import series_of as series_of
from nas.export.standalone.texts import read_texts as read_texts
from nas.export.standalone.texts import token_ids as token_ids
