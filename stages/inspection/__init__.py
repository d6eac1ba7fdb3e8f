"""What people look at: galleries, marks that they set there, suspect tags, and what any file of a run holds.

Steps: build_gallery (the parts of the page are in gallery), report_marks, report_suspect_tags (on judged_tags and
suspect_tags); summarise says on the terminal what a finished graph has made. `python -m stages.inspection FILE` is the
artifact lens (lens).
"""
