"""MQTT 5: connect, retained state, request and reply; the only importer of paho. Agents see `api.py` only."""
