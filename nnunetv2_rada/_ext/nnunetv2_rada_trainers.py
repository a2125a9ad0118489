"""What nnU-Net's finder imports: every trainer class of the installed package, under its name.

The finder removes this module from `sys.modules` afterwards and takes its folder off `sys.path`. The classes live in
the package, which stays imported, so that they pickle and their methods can import.
"""

from nnunetv2_rada.variants import TRAINERS

globals().update(TRAINERS)
