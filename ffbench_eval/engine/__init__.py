"""Batched molecular dynamics: all replicas of one system in one `[B, N, 3]` state.

Units inside the engine: Angstrom, eV, amu; time in Angstrom sqrt(amu / eV) (`units.FS` converts).
"""
