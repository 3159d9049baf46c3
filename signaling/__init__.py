"""The service people and bots meet in: front door, WebSocket protocol, sessions, lobbies, web page, CLI.

It composes the relay (``relay/``) with everything a lobby needs. It never touches a packet. Start reading at
``signaling/server.py`` for the composition and at ``signaling/PROTOCOL.md`` for what travels on the
WebSocket.
"""
