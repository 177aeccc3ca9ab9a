# SPDX-License-Identifier: GPL-2.0
"""Measuring brokers with kmqtt-bench: brokers, scenarios, results, output."""
