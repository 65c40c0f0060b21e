"""Tables without a target: cells filled, rows scored and drawn, by one column given others."""
