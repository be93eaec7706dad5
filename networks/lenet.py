"""The LeNets that compression papers use: 300-100 fully connected, and Caffe's LeNet5 [LBBH98].

Recipes and details as in the learning-compression code of [IC20]: tanh and Xavier in LeNet300; ReLU and dropout 0.5
before the last layer in LeNet5.

[LBBH98] LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition, 1998.
[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from networks.mlp import mlp


def lenet300(input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Build the network 784-300-100-10 with tanh: 266,610 parameters on MNIST."""
    return mlp(input_shape, num_classes, hidden=[300, 100], activation="tanh")


def lenet5(input_shape: Sequence[int], num_classes: int, dropout: float = 0.5) -> nn.Sequential:
    """Build Caffe's LeNet5: 20 and 50 5×5 filters, 500 hidden units; 431,080 parameters and 2,293,000 MACs on MNIST.

    Raises `ValueError` for images below 16×16, of which the convolutions and poolings leave no pixel.
    """
    channels, height, width = input_shape
    if min(height, width) < 16:
        raise ValueError(
            f"it needs images of at least 16×16 pixels, got {height}×{width}; take dataset=mnist or network=mlp"
        )
    pooled = ((height - 4) // 2 - 4) // 2 * (((width - 4) // 2 - 4) // 2)  # positions after conv, pool, conv, pool
    network = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 20, kernel_size=5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, kernel_size=5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(50 * pooled, 500),
            relu3=nn.ReLU(),
            dropout=nn.Dropout(dropout),
            fc2=nn.Linear(500, num_classes),
        )
    )
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.constant_(layer.get_parameter("bias"), 0.0)
    return network
