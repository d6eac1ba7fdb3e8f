"""The class of each pixel, from tags alone: makes {split}/semantics/{source}.h5.

Steps: label_pixels, train_semantics, predict_semantics; or import_semantics (maps of another method), or
take_annotations (an upper bound, supervised by masks). Parts: labels (response maps and a dense CRF), network, maps
(checks).
"""
