"""Your own data in the evaluator: the suite that fits them, from a name, a folder or files."""
