#!/bin/sh
# Makes the interface's fonts from Debian's fonts-inter and fonts-jetbrains-mono: tabular figures frozen in, cut down to
# the Latin, Greek and Cyrillic scripts and the signs that the interface draws.
#   apt-get install fonts-inter fonts-jetbrains-mono && python3 -m pip install fonttools opentype-feature-freezer
set -eu
cd "$(dirname "$0")"
ranges='U+0020-007E,U+00A0-017F,U+0370-03FF,U+0400-045F,U+2010-2027,U+2030-203A,U+20AC,U+2122,U+2190-2199,U+21A9,U+21AA,U+21B5,U+21E7,U+2200-2265,U+2303,U+2318,U+2325,U+23F5,U+25A0-25FF,U+2600,U+2605,U+2606,U+2713,U+2715,U+2717,U+2192,U+22EF'
for weight in Regular SemiBold; do
    pyftfeatfreeze -f tnum /usr/share/fonts/opentype/inter/Inter-$weight.otf frozen.otf
    pyftsubset frozen.otf --unicodes="$ranges" --layout-features='kern,mark,mkmk' --output-file=Inter-$weight.otf
    rm frozen.otf
done
pyftsubset "$(dpkg -L fonts-jetbrains-mono | grep -m1 'JetBrainsMono-Regular\.[ot]tf')" --unicodes="$ranges" --layout-features='' --output-file=JetBrainsMono-Regular.ttf
