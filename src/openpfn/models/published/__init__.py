"""Networks as other toolkits published them."""
