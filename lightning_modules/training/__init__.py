"""The training machinery: schedules, trainers, phases, checkpoints."""
