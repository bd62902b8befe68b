"""How fast a lender has its memory back."""
