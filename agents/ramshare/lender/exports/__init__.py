"""What is lent: records beside their images, targets over them, and the ledger that the agent goes by."""
