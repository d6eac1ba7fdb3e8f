"""What people look at: makes a run's gallery, one page with a row of panels per image.

`python -m stages.inspection FILE` is the artifact lens (lens). Steps: build_gallery; summarise says on the terminal
what a finished graph has made. Parts: choice picks the images; kinds has a panel per kind of artifact, drawn by panels
and map_panels; sources opens the artifacts.
"""
