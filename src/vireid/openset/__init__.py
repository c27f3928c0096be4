"""Open-set search: verdicts at chosen error rates, their calibration and its validation."""
