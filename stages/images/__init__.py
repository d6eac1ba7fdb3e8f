"""What there is to look at: makes images.h5 (images and tags), ground_truth.h5 and points.h5 of a split.

Steps: list_images; annotate_semantics (annotated classes of all pixels, read by sources of kind oracle alone). Parts:
dataset chooses the kind; voc with sbd, coco with coco_json, folder with tags, and shapes read or draw one kind each;
tiling cuts images into tiles; files reads text and finds images; objects, index_maps, centers and records turn what
they find into records.
"""
