"""A page on which people look at every image of a split: what goes to it, and the files of the page itself."""
