"""The manager: matches borrowers with lenders and owns nothing."""
