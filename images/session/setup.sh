#!/bin/sh
# Runs in the image while it is built, whichever way.
set -eu

useradd --create-home --uid 1000 --shell /bin/bash user

# What only an installer needs, or what would make each build differ.
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/log/*.log /var/log/apt
