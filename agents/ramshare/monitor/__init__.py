"""The monitor: samples memory inside a guest and publishes it."""
