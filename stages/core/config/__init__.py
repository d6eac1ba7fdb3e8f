"""Sections of settings: section is the base of all (strict, no defaults, canonical JSON), crf one that stages share.

A stage's own sections lie in its settings.py, the whole configuration in stages/project.
"""
