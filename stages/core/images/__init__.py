"""Reading images: loading turns any usual file into RGB, and RGB into what networks expect; suffixes says which files are images."""
