"""The page: hear and see a song separated at any sampling frequency, and compare the models. Needs gradio: pip install -e '.[demo]'."""
