"""A toy method: an object is where the pixels have the mean colour of the images with its tag."""
