"""The root, on top of all stages: the configuration as a whole, and the list of methods.

project checks all sections, run is one run, overlays lays presets on each other; graph says which files a run takes and
makes, sources and packing likewise for theirs; methods is the one list of methods.
"""
