"""Backbones: image -> {"C2".."C5"}, feature maps at strides 4, 8, 16 and 32 (MobileNetV3's C6: 32 too).

    settings        which there are, and what each can be told; without TensorFlow
    build           the one that the settings name; cut to what is read
    resnet, mobilenet_v3, applications
                    the networks; ..._names: names of their layers in published files
"""
