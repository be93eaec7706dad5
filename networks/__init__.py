"""Networks: functions from the input's shape and the number of classes to an `nn.Module`; one family a file."""
