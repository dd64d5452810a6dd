#!/usr/bin/env python3
"""Makes digits.tar.gz from the UCI optical handwritten digits as scikit-learn carries them.

    python3 -m pip install scikit-learn && python3 assets/digits/make.py

1,797 scans of 8 x 8 pixels with 17 grey levels become PNG files of 8 x 8 pixels in ten class folders. Running it again
gives the same bytes.
"""

import gzip
import io
import pathlib
import struct
import tarfile
import zlib

from sklearn.datasets import load_digits


def png(pixels):
    """An 8-bit greyscale PNG of rows of bytes."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(row) for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


digits = load_digits()
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
    for number, (image, label) in enumerate(zip(digits.images, digits.target)):
        data = png([[round(value * 255 / 16) for value in row] for row in image])
        entry = tarfile.TarInfo(f"{label}/{number:04}.png")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
target = pathlib.Path(__file__).with_name("digits.tar.gz")
with open(target, "wb") as out, gzip.GzipFile(fileobj=out, mode="wb", mtime=0, compresslevel=9) as zipped:
    zipped.write(packed.getvalue())
print(target, target.stat().st_size)
