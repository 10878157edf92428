#!/bin/sh
# Switches an outlet of a power distribution unit by SNMP, with the numbers of APC's sPDUOutletCtl; other makers have others.
set -eu
pdu=192.0.2.40
control=.1.3.6.1.4.1.318.1.1.12.3.3.1.1.4
case $WIRELET_DEVICE in
board-a) outlet=5 ;;
board-b) outlet=6 ;;
*) echo "no outlet for $WIRELET_DEVICE; write it into $0" >&2; exit 1 ;;
esac
case $WIRELET_HOOK in
power.on) command=1 ;;
power.off) command=2 ;;
power.cycle) command=3 ;;
*) echo "$0 does not do $WIRELET_HOOK" >&2; exit 1 ;;
esac
exec snmpset -t 3 -r 2 "$pdu" "$control.$outlet" i "$command"
