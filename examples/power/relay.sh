#!/bin/sh
# Switches the relay in a board's supply, on a USB relay board. `usbrelay` alone lists the relays.
set -eu
case $WIRELET_DEVICE in
board-a) relay=BITFT_1 ;;
board-b) relay=BITFT_2 ;;
*) echo "no relay for $WIRELET_DEVICE; write it into $0" >&2; exit 1 ;;
esac
off_s=2 # until the board's capacitors are empty
case $WIRELET_HOOK in
power.on) usbrelay "$relay=1" ;;
power.off) usbrelay "$relay=0" ;;
power.cycle) usbrelay "$relay=0"; sleep "$off_s"; usbrelay "$relay=1" ;;
*) echo "$0 does not do $WIRELET_HOOK" >&2; exit 1 ;;
esac
