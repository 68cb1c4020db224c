"""`python -m app`: the same as the command `audio-gateway`."""

from app.cli import app

if __name__ == "__main__":
    app(prog_name="audio-gateway")
