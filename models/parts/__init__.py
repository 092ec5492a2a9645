"""What architectures are made of and share; each file is one kind of part."""
