"""The artifact lens: what a file of a run holds, as text, as JSON, and one image of it as a PNG.

`python -m stages.inspection FILE` calls `look.look`. Parts: artifacts, weights and reports describe the three sorts of
files; numbers has ranges and samples; neighbours finds the files that an artifact is drawn with; panels and sheet draw;
words prints.
"""
