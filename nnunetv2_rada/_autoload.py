"""Tell nnU-Net where the trainers are: append the shim's folder to `nnUNet_extTrainer`.

Imported at every interpreter start by a .pth file in site-packages, hence: nothing but `os`, and no way to raise.
"""

import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_ext")
"""The folder in which nnU-Net's own finder meets our trainers."""
PTH = "nnunetv2_rada_autoload.pth"
"""The file in site-packages that imports this module."""
VARIABLE = "nnUNet_extTrainer"
"""nnU-Net's list of folders with trainers, from nnunetv2 2.8 on."""


def register() -> None:
    """Append `FOLDER` to the environment variable, once: child processes inherit it and run this again."""
    folders = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    if FOLDER not in folders:
        os.environ[VARIABLE] = os.pathsep.join([*folders, FOLDER])


register()
