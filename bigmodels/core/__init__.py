"""What every room uses: errors, the console, paths, files, names in trees."""
