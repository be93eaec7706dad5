"""Rank rules: functions of the layers' frontiers that choose one point of each. One rule a file."""
