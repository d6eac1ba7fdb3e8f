"""Candidate regions of each image, best first: makes {split}/proposals/{source}.h5.

Steps: generate_proposals or import_proposals on shards of the images, then merge_proposals. Parts of the generator
(HEG): partition and superpixels, features, merging, geodesic, ranking, joined in heg. Parts of the import: mat_files
and coco_json read, imported ranks what they found.
"""
