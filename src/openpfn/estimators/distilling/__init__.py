"""Small models of scikit-learn's that learned to answer as a fitted network does; they load and
predict without torch."""
