"""Reading images: loading turns any usual file into RGB and into what networks expect, suffixes tells images by name."""
