"""What simple models say of each row's target, as further columns that leak no target (stacked
generalisation, Wolpert 1992)."""
