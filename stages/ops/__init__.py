"""Foundation: arrays in, arrays out, and no files.

regions and overlaps are the region algebra (atoms and membership), on partition; boxes, nms, components, peaks and rle
are about masks and boxes; errors sorts predictions by what is wrong with them, precision averages over recall; crf,
resize and drawing are about images, colours about charts.
"""
