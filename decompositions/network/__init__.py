"""Operations on whole networks: compress, replace layers, save and load, merge factors back."""
