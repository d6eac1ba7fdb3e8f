"""MATLAB's files of variables, whoever wrote them: read in a process of their own."""
