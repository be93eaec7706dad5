"""Large images, decoded anew in every epoch by processes of their own: ImageNet, folders of images."""
