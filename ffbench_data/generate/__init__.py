"""Generators: the programs that made the embedded data, with real engines.

Needs the extra ``generate`` (OpenMM, tblite). Each module has ``simulate(folder, ...)``, restartable,
which writes raw trajectories, and is also the home of its reference potential.
"""
