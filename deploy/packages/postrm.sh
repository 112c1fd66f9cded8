#!/bin/sh
# The images in /var/lib/ecrin stay, also when the package is purged.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
