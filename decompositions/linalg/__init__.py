"""The mathematics of the formats: functions of matrices and tensors, no layers."""
