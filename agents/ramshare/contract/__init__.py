"""What other programs may rely on: the AsyncAPI document and the JSON Schemas in `schemas/`, made from the messages."""
