"""Files as examples: folders of images and of sounds, with their classes and splits."""
