"""Instances of whole images from those of their tiles.

`merge_tiles` places masks at their tile's offset and joins those that neighbouring tiles have of one object.
"""
