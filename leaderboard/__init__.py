"""The leaderboard: entries as JSON, their schema, the validator, scores and the static site. Runs no model code."""
