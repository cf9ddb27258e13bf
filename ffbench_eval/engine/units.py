"""Physical constants (CODATA 2018) in the engine's units: Angstrom, eV, amu."""

BOLTZMANN = 8.617333262145179e-05  # eV/K
FS = 0.09822694743391452  # one femtosecond in Angstrom sqrt(amu/eV)
KJ_PER_MOL = 0.010364269656262175  # eV
