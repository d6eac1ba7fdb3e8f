"""Reading images: loading turns files into RGB and into what networks expect; suffixes tells images by name."""
