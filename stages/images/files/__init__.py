"""Reads the files that people write and that other tools export: text, tables, XML, and folders of images."""
