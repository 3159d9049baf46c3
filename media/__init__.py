"""Arrays in, arrays out: packet parsing, SRTP, rings and the compiled kernels of the relay.

Nothing here opens a socket, reads a clock of its own accord, starts a task or writes a log.
"""
