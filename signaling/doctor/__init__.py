"""``relay doctor``: looks at the machine and the settings before they disappoint anybody, and says what to do."""
