"""The guests of the lender's host: what they report, what they use, and their balloons."""
