#!/bin/sh
# Makes the icons of all sizes from icon.svg. Needs rsvg-convert (librsvg2-bin) and Python with Pillow.
set -eu
cd "$(dirname "$0")"
for size in 32 128 512; do rsvg-convert -w $size -h $size icon.svg -o $size.png; done
mv 32.png 32x32.png; mv 128.png 128x128.png; mv 512.png icon.png
python3 - <<'PY'
from PIL import Image
icon = Image.open("icon.png").convert("RGBA")
icon.save("icon.ico", sizes=[(16, 16), (32, 32), (48, 48), (256, 256)])
icon.save("icon.icns")
PY
