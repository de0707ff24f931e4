"""How a WebP is compressed, which Pillow does not say."""

HEADER, CHUNK = 12, 8  # bytes before the first chunk, and of the name and the length of each


def is_lossy(data: bytes) -> bool:
    """Whether the compression of a still WebP changes values: its pixels are no chunk VP8L.

    Chunks of other content, as a colour profile, may lie before the pixels.
    """
    at = HEADER
    while at + CHUNK <= len(data):
        if data[at : at + 4] == b'VP8L':
            return False
        length = int.from_bytes(data[at + 4 : at + CHUNK], 'little')
        at += CHUNK + length + length % 2
    return True
