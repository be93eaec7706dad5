"""Networks: functions of the input's shape and the number of classes that return an `nn.Module`; one family a file."""
