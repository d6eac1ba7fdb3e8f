"""What networks of several stages are made of: backbones and their levels, RoIAlign, weights files, devices."""
