"""The settings of the loop: names, types, units and ranges."""
