"""What stages exchange: a record class per kind of HDF5 file, and how any of them is written and read.

records declares fields; storage creates a file whole or not at all, and reads it; regions, files, folders, painting,
map_components and supervision help. All other modules are one kind each; kinds lists them by name.
"""
