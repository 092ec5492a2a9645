"""A separator on long signals, streams and files: chunks that join, options, mixture consistency."""
