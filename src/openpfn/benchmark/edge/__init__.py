"""Networks on microcontrollers: quality and costs."""
