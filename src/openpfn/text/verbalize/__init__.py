"""Tables put into words, as TabSTAR reads them: `TabSTARPreprocessor` and what it is made of."""

from openpfn.text.verbalize.preprocessor import TabSTARPreprocessor

__all__ = ["TabSTARPreprocessor"]
