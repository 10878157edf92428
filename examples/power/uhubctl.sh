#!/bin/sh
# Switches the port of a USB hub that a board is plugged in to. `uhubctl` alone lists the hubs that can do it, with their locations.
set -eu
case $WIRELET_DEVICE in
board-a) hub=1-1 port=2 ;;
board-b) hub=1-1 port=3 ;;
*) echo "no port of a hub for $WIRELET_DEVICE; write it into $0" >&2; exit 1 ;;
esac
case $WIRELET_HOOK in
power.on | power.off | power.cycle) exec uhubctl -l "$hub" -p "$port" -a "${WIRELET_HOOK#power.}" ;;
*) echo "$0 does not do $WIRELET_HOOK" >&2; exit 1 ;;
esac
