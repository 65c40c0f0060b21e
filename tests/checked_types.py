"""The decorator with which jaxtyping's import hook checks every annotated function during the
tests."""

from beartype import BeartypeConf, beartype

check = beartype(
    conf=BeartypeConf(is_pep484_tower=True)
)  # an int is a float, as type checkers have it
