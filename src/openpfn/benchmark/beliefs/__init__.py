"""How fast, how exact and how well calibrated predictive resampling is."""
