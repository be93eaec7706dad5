"""Small images, held in memory as bytes: the official MNIST and CIFAR files, folders of images, augmentation."""
