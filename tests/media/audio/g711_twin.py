"""G.711 bit by bit, after the C of the ITU-T's Software Tool Library (G.191)."""


def mu_law_compress(value):
    absolute = (~value >> 2) + 33 if value < 0 else (value >> 2) + 33
    absolute = min(absolute, 0x1FFF)
    rest, segment = absolute >> 6, 1
    while rest:
        segment += 1
        rest >>= 1
    code = (8 - segment) << 4 | 0xF - (absolute >> segment & 0xF)
    return code | 0x80 if value >= 0 else code


def mu_law_expand(code):
    mantissa = ~code
    exponent = mantissa >> 4 & 7
    step = 4 << (exponent + 1)
    value = (0x80 << exponent) + step * (mantissa & 0xF) + step // 2 - 4 * 33
    return value if code >= 0x80 else -value


def a_law_compress(value):
    code = (~value if value < 0 else value) >> 4
    if code > 15:
        exponent = 1
        while code > 16 + 15:
            code >>= 1
            exponent += 1
        code += (exponent << 4) - 16
    return (code | 0x80 if value >= 0 else code) ^ 0x55


def a_law_expand(code):
    exponent, mantissa = (code ^ 0x55) >> 4 & 7, (code ^ 0x55) & 0xF
    if exponent:
        mantissa += 16
    value = (mantissa << 4) + 8
    if exponent > 1:
        value <<= exponent - 1
    return value if code >= 0x80 else -value
