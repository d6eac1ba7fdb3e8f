"""Artifacts that another project has made.

`borrow_artifact` checks what an artifact says of itself against the images of this project, copies it, and notes where
it comes from. Nothing in the other project's folder is made, changed or removed.
"""
