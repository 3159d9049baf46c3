"""Clients for services outside: speech to text, conversation by voice, and text. Each survives outages; none holds up a bot."""
