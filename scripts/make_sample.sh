#!/bin/sh
# Makes app/demo/sample.m4a, the clip that the demo and the tests send. Needs flite (with its voice "rms") and ffmpeg:
#   apt-get install flite ffmpeg
set -eu
cd "$(dirname "$0")/.."
words='Hello, my name is Wolfgang and I come from Germany. Where are you heading today?'
spoken=$(mktemp --suffix=.wav)
trap 'rm -f "$spoken"' EXIT
flite -voice rms -t "$words" -o "$spoken"
# No tags and no encoder's name, so that the same tools always make the same bytes.
ffmpeg -loglevel error -y -i "$spoken" -c:a aac -b:a 48k -ac 1 -movflags +faststart \
  -map_metadata -1 -fflags +bitexact -flags:a +bitexact app/demo/sample.m4a
