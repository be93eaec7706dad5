"""Rank rules: functions of the layers' frontiers that choose a rank for each layer. One rule a file."""
