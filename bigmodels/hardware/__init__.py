"""Devices and compilers: peak rates, costs of programs, known bugs, self-check."""
