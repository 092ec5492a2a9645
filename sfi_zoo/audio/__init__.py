"""Audio in and out: files, resampling, chunked separation of signals of any length."""
