"""Large images, decoded anew in every epoch by worker processes: ImageNet, folders of images."""
