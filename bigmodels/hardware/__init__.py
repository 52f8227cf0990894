"""What devices and their compilers can do, and where they are known to be wrong."""
