"""Load for the relay, and the proof of what it carries.

`relay bench forward` drives a relay with real peers: WebSocket sessions, ICE, DTLS, SRTP, a UDP socket each. Compiled
loops send on absolute deadlines and decrypt, check and time every packet that comes back. Nothing imports this package.
"""
