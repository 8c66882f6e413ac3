"""Settings, wiring, the typed client, the embedded stack."""
