#!/bin/sh
set -e
if ! getent passwd ecrin >/dev/null; then
	adduser --system --group --home /var/lib/ecrin --no-create-home --quiet ecrin
fi
install -d -m 0700 -o ecrin -g ecrin /var/lib/ecrin
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# A new installation is started by its administrator, after a look at /etc/ecrin/ecrin.yaml; a running one goes on with the new program.
	systemctl try-restart ecrin.service
fi
