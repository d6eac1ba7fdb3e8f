"""JSON in COCO's format: read with types checked, for data sets and for proposals."""
