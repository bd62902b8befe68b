"""The paper's figures 2 and 3, measured anew."""
