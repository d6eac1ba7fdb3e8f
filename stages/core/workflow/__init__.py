"""From a rule to a function: step makes a command line of a signature, digest says what code a step depends on.

prose tells which of it is no code; method is how a method describes itself; benchmarks and pages serve reports.
"""
